"""Train a tokenizer and let it prove itself.

    python recipes/train_tokenizer.py --output_dir tokenizers/wordpiece-8k
    python recipes/train_tokenizer.py --algorithm bpe --corpus my_texts/ --vocab_size 16384 --output_dir my-tokenizer

Without --corpus it reads the prose of the installed Python packages. The folder opens with `AutoTokenizer`, and with
--push_to_hub it goes to the Hub.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.data.corpus import CorpusSettings, open_corpus
from hfrep.data.tokenizer import TokenizerSettings, prove_tokenizer, tokenizer_hash, train_tokenizer
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.hub.outbox import FOLDER
from hfrep.hub.plan import Plan
from hfrep.hub.sending import push
from hfrep.hub.settings import PushSettings
from hfrep.settings import parse, setting, writable_folder
from hfrep.training.checkpoint import LOCK
from hfrep.training.launch import quiet_libraries

PROOF_DOCUMENTS = 200
OURS = ("README.md", "tokenizer.json", "tokenizer_config.json", FOLDER, LOCK)


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    output_dir: str = setting("", "folder for the tokenizer", kind="operation")

    def __post_init__(self) -> None:
        folder = Path(self.output_dir)
        if not self.output_dir:
            raise ConfigError(where="output_dir", expected="a folder", found="none", do="give --output_dir")
        others = sorted(path.name for path in folder.iterdir() if path.name not in OURS) if folder.is_dir() else []
        if others or (folder.exists() and not folder.is_dir()):
            # A model's folder holds a tokenizer too; replaced, its weights would mean other tokens.
            raise ConfigError(
                where=str(folder),
                expected="a new folder, or one with only a tokenizer to replace",
                found=", ".join(others[:3]) or "a file",
                do="give another --output_dir",
            )


GROUPS = (CorpusSettings, TokenizerSettings, OutputSettings, PushSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    corpora, shape, output, hub = parse(*GROUPS, argv=argv, description=__doc__)
    quiet_libraries()
    folder = writable_folder(output.output_dir)
    plan = Plan.of(hub, folder) if hub.push_to_hub else None
    sources = [open_corpus(name, corpora) for name in corpora.corpus]

    def documents() -> Iterator[str]:
        for source in sources:
            yield from source.documents()

    tokenizer = train_tokenizer(documents, shape)
    report = prove_tokenizer(tokenizer, list(itertools.islice(documents(), PROOF_DOCUMENTS)))
    tokenizer.save_pretrained(folder)
    print(f"tokenizer  {shape.algorithm}, {len(tokenizer):,} tokens, from {', '.join(corpora.corpus)}")
    print(f"proved     {report}")
    print(f"hash       {tokenizer_hash(tokenizer)}")
    print(f"saved      {output.output_dir}", flush=True)
    if plan is not None:
        push(folder, hub, plan, strict=hub.hub_strict)
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
