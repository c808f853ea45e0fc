"""The card of prepared blocks: what the Hub files the dataset under, what is in it, and how it is opened."""

import json
from collections.abc import Iterator, Sequence

from huggingface_hub import DatasetCardData

from hfrep.card.markdown import fenced
from hfrep.data.corpus import on_hub
from hfrep.data.hub_corpus import DatasetName
from hfrep.data.prepared_blocks import FACTS, SPLITS, TOKENIZER, PreparedFacts
from hfrep.evaluation.grid import Grid

ORDER = ("pretty_name", "language", "license", "task_categories", "size_categories", "source_datasets", "tags")
TASKS = {"encoder": "fill-mask", "decoder": "text-generation"}
RECIPES = {"encoder": "recipes/mlm.py", "decoder": "recipes/clm.py"}  # each refuses the other's rows
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")  # rows, as the Hub counts them
COLUMNS = (
    ("input_ids", "int32 [{length}]", "token ids, special tokens and padding included"),
    ("segment_ids", "int32 [{length}]", "the documents of a row, or their pieces, numbered 1, 2, 3 …; padding is 0"),
    ("word_starts", "bool [{length}]", "where a word starts, by the tokenizer's pre-tokenizer"),
    ("corpus", "string", "the corpus that the row is of"),
)
COUNTS = ("split", "corpus", "documents", "bytes of text", "content tokens", "rows", "padding")


def blocks_card(
    facts: PreparedFacts,
    *,
    name: str,
    repository: str | None = None,
    language: Sequence[str] | None = None,
    license: str | None = None,
) -> str:
    """The text of ``README.md``.

    Args:
        name: the heading.
        repository: ``org/name`` that others open it by; None for those who are in its folder.
        language, license: what only the user can tell, see `hfrep.hub.staging.About`.
    """
    length = facts.sequence_length
    parts = [
        _header(facts, name, language, license),
        f"# {name}",
        f"Text that was tokenized and packed into rows of {length} tokens by hfrep, to train {facts.rows}s on. "
        "Nothing of a document is left out: what does not fit into a row goes on in the next one.",
        "## Use",
        fenced(_snippet(repository), "python"),
        f"`{RECIPES[facts.rows]}` of hfrep trains from it with `--blocks {repository or 'FOLDER'}`, and comes to the "
        "weights that the text itself gives.",
        "## Columns",
        _table(("column", "type", ""), [(a, b.format(length=length), c) for a, b, c in COLUMNS], words=3),
        "## Rows",
        _table(COUNTS, list(_counts(facts)), words=2),
        "\n".join(_made(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: PreparedFacts, name: str, language: Sequence[str] | None, license: str | None) -> str:
    rows = sum(part.facts.rows for parts in facts.splits.values() for part in parts)
    data = DatasetCardData(
        pretty_name=name,
        language=list(language) if language else None,
        license=license,
        task_categories=[TASKS[facts.rows]],
        size_categories=[_size(rows)],
        source_datasets=[DatasetName.parse(one).repository for one in facts.settings["corpus"] if on_hub(one)] or None,
        tags=["hfrep", "tokenized", "pretraining"],
        # What is in other folders, as the tokenizer, is no data.
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in SPLITS],
            }
        ],
    )
    return f"---\n{data.to_yaml(original_order=list(ORDER))}\n---"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> str:
    """In Markdown; the first `words` columns are words, the others numbers."""
    return "\n".join(Grid(header, rows, range(words)).markdown())


def _size(rows: int) -> str:
    powers = [1000 * 10**number for number in range(len(SIZES))]
    if rows < powers[0]:
        return f"n<{SIZES[0]}"
    if rows >= powers[-1]:
        return f"n>{SIZES[-1]}"
    above = next(number for number, power in enumerate(powers) if rows < power)
    return f"{SIZES[above - 1]}<n<{SIZES[above]}"


def _snippet(repository: str | None) -> str:
    imports, name = ["from datasets import load_dataset", "from transformers import AutoTokenizer"], json.dumps(".")
    tokenizer = [f'tokenizer = AutoTokenizer.from_pretrained("./{TOKENIZER}")']
    if repository is not None:  # there from_pretrained looks among the models only
        imports.insert(1, "from huggingface_hub import snapshot_download")
        name = json.dumps(repository)
        tokenizer = [
            f'folder = snapshot_download({name}, repo_type="dataset", allow_patterns="{TOKENIZER}/*")',
            f'tokenizer = AutoTokenizer.from_pretrained(folder + "/{TOKENIZER}")',
        ]
    shown = 'print(tokenizer.decode(rows["train"][0]["input_ids"]))'
    return "\n".join([*imports, "", f"rows = load_dataset({name})", *tokenizer, shown])


def _counts(facts: PreparedFacts) -> Iterator[Sequence[str]]:
    for split, parts in facts.splits.items():
        for part in parts:
            counts = part.facts
            numbers = (counts.documents, counts.bytes, counts.content_tokens, counts.rows)
            yield split, part.corpus, *(f"{number:,}" for number in numbers), f"{counts.padding_share:.2%}"


def _made(facts: PreparedFacts) -> Iterator[str]:
    given = facts.settings["validation_corpus"]
    share = facts.settings["validation_fraction"]
    frame = facts.frame
    ends = "" if frame.document_end is None else f", token {frame.document_end} where a document ends"
    behind = "" if frame.end is None else f" and token {frame.end} behind it"
    yield f"- rows: token {frame.begin} before each piece of a document{behind}{ends}; padding is token {frame.pad}"
    yield f"- tokenizer: in `{TOKENIZER}/`, hash `{facts.tokenizer_hash}`"
    whence = "corpora of its own" if given else f"documents held out by a hash of their text ({share:.2%})"
    yield f"- validation: {whence}"
    yield f"- settings, fingerprints and the SHA-256 of each file: in [{FACTS}]({FACTS})"
