"""Tokenize and pack text once, and store the rows as a dataset that training starts from.

    python recipes/prepare.py
    python recipes/prepare.py --corpus my_texts/ --rows decoder --sequence_length 512 --output_dir runs/my-blocks
    accelerate launch recipes/clm.py --blocks runs/my-blocks

The rows are those that recipes/mlm.py (--rows encoder) and recipes/clm.py (--rows decoder) would make of the same text,
and a run from them is the run from the text. The folder opens with `datasets.load_dataset`, and with --push_to_hub it
goes to the Hub as a dataset.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.card.blocks import blocks_card
from hfrep.data.blocks import BlockSettings
from hfrep.data.corpus import CorpusSettings
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.prepared_blocks import FACTS, PreparedBlocks, RowKind, prove_prepared, write_prepared
from hfrep.data.text import pack_text, prepared_facts
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.export import written_aside
from hfrep.hub.plan import Plan
from hfrep.hub.sending import push
from hfrep.hub.settings import PushSettings
from hfrep.settings import parse, setting
from hfrep.training.launch import quiet_libraries

TOKENIZERS = Path(__file__).parent.parent / "tokenizers"


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    rows: RowKind = setting("encoder", "encoder: as recipes/mlm.py trains on them; decoder: as recipes/clm.py does")
    output_dir: str = setting("runs/blocks", "folder for the rows, a new one or one with the same rows")


GROUPS = (CorpusSettings, BlockSettings, PrepareSettings, PushSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    corpora, cut, output, hub = parse(*GROUPS, argv=argv, description=__doc__)
    refuse_settings_of_training(corpora, cut)
    quiet_libraries()
    folder, causal = Path(output.output_dir), output.rows == "decoder"
    before = prepared_before(folder)
    plan = Plan.of(hub, folder) if hub.push_to_hub else None

    # The rows, as training would make them.
    cut = cut.or_default(str(TOKENIZERS / ("bpe-8k" if causal else "wordpiece-8k")), causal=causal)
    tokenizer = load_tokenizer(cut.tokenizer)
    made_with = decoder_tokenizer(tokenizer) if causal else tokenizer
    text = pack_text(corpora, cut, made_with, seed=0, causal=causal)
    facts = prepared_facts(text, corpora, made_with, causal=causal)
    print(f"text       {text}", *text.advice(), sep="\n", flush=True)

    # The folder that others open, and the proof that it holds them.
    if before is None:
        rows = {"train": text.training.parts, "validation": text.validation.parts}
        with written_aside(folder) as aside:
            facts = write_prepared(aside, facts, rows, tokenizer)
            print(f"proved     {prove_prepared(aside, rows, tokenizer)}", flush=True)
            (aside / "README.md").write_text(blocks_card(facts, name=folder.resolve().name), encoding="utf-8")
    elif not before.facts.same_rows(facts):
        raise ConfigError(
            where=str(folder),
            expected="a new folder, or the rows of this text and these settings",
            found=f"{before.facts.rows} rows of {', '.join(before.facts.settings['corpus'])} made otherwise",
            do="give another --output_dir, or remove the folder",
        )
    print(f"blocks: {folder}", flush=True)
    if plan is not None:
        push(folder, hub, plan, strict=hub.hub_strict)
    return 0


def prepared_before(folder: Path) -> PreparedBlocks | None:
    """What an earlier run of this recipe left in `folder`; None where it is new or empty.

    Raises:
        ConfigError: it holds something else.
    """
    content = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if FACTS in content:
        return PreparedBlocks.open(str(folder))
    if content or folder.exists() != folder.is_dir():
        raise ConfigError(
            where=str(folder),
            expected="a new folder, or one that this recipe has filled",
            found=", ".join(content[:3]) or "a file",
            do="give another --output_dir",
        )
    return None


def refuse_settings_of_training(corpora: CorpusSettings, cut: BlockSettings) -> None:
    """Refuse what decides nothing here: the same rows serve any weights, and documents that see each other or not."""
    given = {"corpus_weights": corpora.corpus_weights, "documents": None if cut.documents == "isolate" else "join"}
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                where=f"--{name}",
                expected="it where a model is trained from the blocks",
                found=str(value),
                do="leave it out here",
            )


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
