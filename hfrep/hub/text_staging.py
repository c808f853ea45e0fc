"""Prepared blocks and tokenizers as they are to stand on the Hub."""

from pathlib import Path

from hfrep.card.blocks import blocks_card
from hfrep.card.tokenizer import tokenizer_card
from hfrep.data.prepared_blocks import FACTS, TOKENIZER, PreparedBlocks
from hfrep.data.tokenizer import load_tokenizer
from hfrep.hub.staging import About, put

TOKENIZER_FILE, CARD = "tokenizer.json", "README.md"
OF_A_MODEL = ("config.json", "adapter_config.json")


def holds_blocks(folder: Path) -> bool:
    """Whether `folder` is one that recipes/prepare.py left."""
    return (folder / FACTS).is_file()


def holds_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds a tokenizer, and not that of a model."""
    return (folder / TOKENIZER_FILE).is_file() and not any((folder / name).exists() for name in OF_A_MODEL)


def stage_blocks(source: Path, target: Path, *, repository: str, about: About) -> None:
    """Put into `target` the prepared blocks in `source`, with a card for `repository` (``org/name``).

    Raises:
        DataError: they are damaged.
    """
    facts = PreparedBlocks.open(str(source)).facts
    files = [file for parts in facts.splits.values() for part in parts for file in part.files]
    tokenizer = [file.relative_to(source).as_posix() for file in sorted((source / TOKENIZER).iterdir())]
    for name in (FACTS, *tokenizer, *files):
        (target / name).parent.mkdir(exist_ok=True)
        put(source / name, target / name)
    card = blocks_card(
        facts,
        name=repository.rpartition("/")[2],
        repository=repository,
        language=about.language,
        license=about.license,
    )
    (target / CARD).write_text(card, encoding="utf-8")


def stage_tokenizer(source: Path, target: Path, *, repository: str, about: About) -> None:
    """Put into `target` the tokenizer in `source`, with a card for `repository` where it has none of its own.

    Raises:
        DataError: it does not open.
    """
    tokenizer = load_tokenizer(str(source), own_pad=False)
    card = tokenizer_card(tokenizer, repository, language=about.language, license=about.license)
    (target / CARD).write_text(card, encoding="utf-8")
    for file in source.iterdir():
        if file.is_file() and not file.name.startswith("."):
            put(file, target / file.name)
