"""Prepared blocks: packed rows as a stock dataset, which others open with `load_dataset` and training starts from.

A folder, or a dataset of the Hub::

    blocks.json                              what the rows are of, and how they were made
    data/train-00000-of-00001.parquet        the rows, one corpus after the other (see `hfrep.data.block_shards`)
    data/validation-00000-of-00001.parquet
    tokenizer/                               opens with AutoTokenizer
    README.md                                the dataset's card

Mapped back, they are the files that packing the text leaves, under the same fingerprint: a run from prepared blocks is
the run from the text, and either goes on where the other was stopped.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from transformers import PreTrainedTokenizerFast

from hfrep.data.block_shards import file_hash, map_shards, number_of_shards, read_shards, write_shards
from hfrep.data.blocks import FORMAT, BlockFacts, Blocks, Frame
from hfrep.data.cache import prepared
from hfrep.data.tokenizer import load_tokenizer, tokenizer_hash
from hfrep.errors import DataError, ProofError
from hfrep.fetching import HubName, fetched_dataset

FACTS = "blocks.json"
TOKENIZER = "tokenizer"
RowKind = Literal["encoder", "decoder"]
SPLITS = ("train", "validation")
# Of the settings of the corpora those that say which documents are in which rows.
SETTINGS = (
    "corpus",
    "validation_corpus",
    "text_column",
    "document_separator",
    "max_documents",
    "validation_fraction",
)


@dataclass(frozen=True)
class Part:
    """The rows of one corpus in one split.

    Attributes:
        corpus: its name, without the folders it lies in.
        fingerprint: of the text, the tokenizer and how it was cut, see `hfrep.data.blocks.build_blocks`.
        files: SHA-256 of each file, by its path below the folder.
    """

    corpus: str
    fingerprint: str
    facts: BlockFacts
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        # They name paths on this machine, and come from others.
        names = [self.fingerprint, self.facts.dtype, *self.files]
        known = (r"[0-9a-f]{32}", r"uint16|uint32", *[r"data/[a-z]+-\d{5}-of-\d{5}\.parquet"] * len(self.files))
        for name, pattern in zip(names, known, strict=True):
            if not re.fullmatch(pattern, name):
                raise ValueError(f"{name!r}")


@dataclass(frozen=True)
class PreparedFacts:
    """What ``blocks.json`` says.

    Attributes:
        rows: what kind of model they are framed for.
        frame: its special tokens.
        tokenizer_hash: of the tokenizer as the rows were made with it.
        settings: those of `SETTINGS`.
        splits: the parts of ``train`` and ``validation``, in the order of the rows.
    """

    rows: RowKind
    sequence_length: int
    tokenizer_hash: str
    frame: Frame
    settings: Mapping[str, Any]
    splits: Mapping[str, Sequence[Part]]

    @classmethod
    def read(cls, text: str) -> "PreparedFacts":
        """What a file with this text says.

        Raises:
            ValueError, KeyError, TypeError: it is not one of ours.
        """
        facts = json.loads(text)
        if (made := facts.pop("format")) != FORMAT:
            raise ValueError(f"format {made}, where this version of hfrep reads {FORMAT}")
        if facts["rows"] not in get_args(RowKind):
            raise ValueError(f"rows of {facts['rows']!r}")
        if set(facts["settings"]) != set(SETTINGS):
            raise ValueError(f"settings {', '.join(facts['settings'])}")
        splits = {
            split: [Part(**part | {"facts": BlockFacts(**part["facts"])}) for part in facts["splits"][split]]
            for split in SPLITS
        }
        return cls(**facts | {"frame": Frame(**facts["frame"]), "splits": splits})

    def __str__(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    def same_rows(self, other: "PreparedFacts") -> bool:
        """Whether `other` is of the same rows, in whatever files."""

        def identity(facts: PreparedFacts) -> Any:
            fingerprints = {
                split: [(part.corpus, part.fingerprint) for part in parts] for split, parts in facts.splits.items()
            }
            return facts.rows, facts.tokenizer_hash, dict(facts.settings), fingerprints

        return bool(identity(self) == identity(other))


@dataclass(frozen=True)
class PreparedBlocks:
    """What ``--blocks`` names.

    Attributes:
        name: a folder, or ``org/name@commit``.
        folder: where its files are on this machine, as far as they have been fetched.
        digest: of ``blocks.json``, hex.
    """

    name: str
    folder: Path
    facts: PreparedFacts
    digest: str

    @classmethod
    def open(cls, name: str) -> "PreparedBlocks":
        """Those in a folder, or on the Hub as ``org/name[@revision]``; of the latter no rows are fetched yet.

        Raises:
            DataError: it holds none, or its ``blocks.json`` is damaged.
            HfrepError: it is not there and cannot be fetched.
        """
        folder = _fetched(name, [FACTS, f"{TOKENIZER}/*"])
        try:
            content = (folder / FACTS).read_text(encoding="utf-8")
            facts = PreparedFacts.read(content)
        except FileNotFoundError:
            raise DataError(
                where=f"--blocks {name}",
                expected=f"rows made by recipes/prepare.py ({FACTS})",
                found="none",
                do="name the --output_dir of that recipe, or give the text with --corpus",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(name, f"{FACTS} as recipes/prepare.py writes it", str(error)) from None
        hub = None if Path(name).is_dir() else HubName.parse(name)
        # The commit is the last part of the path in huggingface_hub's cache.
        return cls(f"{hub.repository}@{folder.name}" if hub else name, folder, facts, _digest(content))

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer they were made with."""
        return self.folder / TOKENIZER

    def require(self, *, rows: RowKind, sequence_length: int | None) -> None:
        """Refuse them where they are not what a recipe can train on.

        Args:
            sequence_length: that the user wants; None where that is left open.

        Raises:
            DataError: rows of another kind or length.
        """
        if self.facts.rows != rows:
            raise DataError(
                where=f"--blocks {self.name}",
                expected=f"rows framed for an {rows}" if rows == "encoder" else f"rows framed for a {rows}",
                found=f"rows for {'a decoder' if rows == 'encoder' else 'an encoder'}",
                do=f"prepare the text again with --rows {rows}",
            )
        if sequence_length not in (None, self.facts.sequence_length):
            raise DataError(
                where=f"--blocks {self.name}",
                expected=f"rows of {sequence_length} tokens, as --sequence_length says",
                found=f"rows of {self.facts.sequence_length}",
                do="leave --sequence_length out, or prepare the text again with it",
            )

    def require_tokenizer(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Refuse a tokenizer whose ids mean something else than theirs.

        Raises:
            DataError: it is such a one.
        """
        digest = tokenizer_hash(tokenizer)
        if digest != self.facts.tokenizer_hash:
            raise DataError(
                where=f"--blocks {self.name}",
                expected=f"the tokenizer that they were made with (hash {self.facts.tokenizer_hash})",
                found=f"{tokenizer.name_or_path} (hash {digest})",
                do="leave --tokenizer out, or prepare the text again with the tokenizer that the model has",
            )

    def blocks(self, part: Part, cache: Path) -> Blocks:
        """The rows of `part`, memory-mapped: from `cache`, or fetched, checked and laid out there first.

        Raises:
            DataError: a file is missing or damaged, or the cache cannot be written.
            HfrepError: it cannot be fetched.
        """
        if (packed := cache / "blocks" / part.fingerprint).is_dir():
            return Blocks(packed)  # this machine has packed the same text

        def build(folder: Path) -> None:
            root = _fetched(self.name, list(part.files))
            require_files(root, part, self.name)
            rows = map_shards([root / name for name in part.files], part.facts, folder)
            if rows != part.facts.rows:
                raise _damaged(self.name, f"{part.facts.rows:,} rows of {part.corpus}", f"{rows:,}")
            (folder / "facts.json").write_text(json.dumps(asdict(part.facts)))

        # Apart from what was packed here, and by the digest: what others say of their rows is taken on trust.
        return Blocks(prepared(cache / "prepared" / self.digest / part.fingerprint, build))


def require_files(folder: Path, part: Part, name: str) -> None:
    """Refuse files in `folder` that are not those of `part`.

    Raises:
        DataError: one is missing or has other bytes.
    """
    for file, digest in part.files.items():
        found = file_hash(folder / file)[:12] if (folder / file).is_file() else "no such file"
        if found != digest[:12]:
            raise _damaged(name, f"{file} with the SHA-256 {digest[:12]}…", found)


def write_prepared(
    folder: Path,
    facts: PreparedFacts,
    rows: Mapping[str, Sequence[Blocks]],
    tokenizer: PreTrainedTokenizerFast,
) -> PreparedFacts:
    """Fill the empty `folder`, all but its card; the facts, with the files.

    Args:
        facts: without the files.
        rows: of each part, by split.
        tokenizer: as it was before it was made one for a decoder, so that it is opened as any other.
    """
    (folder / "data").mkdir()
    written = {}
    for split, parts in facts.splits.items():
        total = sum(number_of_shards(part.facts) for part in parts)
        names = iter([f"data/{split}-{number:05}-of-{total:05}.parquet" for number in range(total)])
        written[split] = [
            _written(folder, part, blocks, [next(names) for _ in range(number_of_shards(part.facts))])
            for part, blocks in zip(parts, rows[split], strict=True)
        ]
    tokenizer.save_pretrained(folder / TOKENIZER)
    whole = PreparedFacts(**vars(facts) | {"splits": written})
    (folder / FACTS).write_text(str(whole), encoding="utf-8")
    return whole


def prove_prepared(folder: Path, rows: Mapping[str, Sequence[Blocks]], made_with: PreTrainedTokenizerFast) -> str:
    """Read back what was written to `folder` and compare it; a sentence on what that showed.

    Args:
        rows: see `write_prepared`.
        made_with: a tokenizer that gives the same ids as the one that was saved.

    Raises:
        ProofError: something else came back.
    """
    facts = PreparedFacts.read((folder / FACTS).read_text(encoding="utf-8"))
    parts = [(part, blocks) for split in SPLITS for part, blocks in zip(facts.splits[split], rows[split], strict=True)]
    for part, blocks in parts:
        first = 0
        for batch in read_shards([folder / name for name in part.files], part.facts):
            taken = blocks.take(np.arange(first, first + len(batch["input_ids"])))
            if not all(np.array_equal(batch[name], taken[name]) for name in taken):
                raise _not_proved(folder, f"the rows of {part.corpus} to be read back as they are", "others")
            first += len(batch["input_ids"])
        if first != len(blocks):
            raise _not_proved(folder, f"{len(blocks):,} rows of {part.corpus}", f"{first:,}")
    if tokenizer_hash(load_tokenizer(str(folder / TOKENIZER))) != tokenizer_hash(made_with):
        raise _not_proved(folder, "the saved tokenizer to give the same ids", "another one")
    number = sum(part.facts.rows for part, _ in parts)
    return f"read back, the {number:,} rows in the files are the ones that were packed, and the tokenizer is the same"


def _written(folder: Path, part: Part, blocks: Blocks, names: Sequence[str]) -> Part:
    files = [folder / name for name in names]
    write_shards(blocks, part.corpus, files)
    return Part(**vars(part) | {"files": {name: file_hash(file) for name, file in zip(names, files, strict=True)}})


def _fetched(name: str, files: Sequence[str]) -> Path:
    return fetched_dataset(name, files, where=f"--blocks {name}", what="dataset of prepared blocks")


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _damaged(name: str, expected: str, found: str) -> DataError:
    return DataError(
        where=f"--blocks {name}", expected=expected, found=found, do="fetch or prepare them again, in another folder"
    )


def _not_proved(folder: Path, expected: str, found: str) -> ProofError:
    return ProofError(where=str(folder), expected=expected, found=found, do="report this")
