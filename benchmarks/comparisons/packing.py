"""From text to rows of 128 tokens on disk: against the example script's `datasets.map`, and tokenizing alone."""

import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from comparison import OURS, Amount, Comparison, Goal, Turn
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerFast

from hfrep.data.blocks import build_blocks
from hfrep.data.corpus import Corpus, CorpusSettings, open_corpus
from hfrep.data.tokenizer import load_tokenizer
from hfrep.training.launch import quiet_libraries

TOKENIZER = Path(__file__).parents[2] / "tokenizers" / "wordpiece-8k"
LENGTH = 128
CHARACTERS_A_CALL = 2_000_000


class PackingSide:
    """A turn packs the first megabytes of the built-in corpus; its answer is how many tokens the text has.

    Args:
        pack: texts, the tokenizer and an empty folder → what counts the tokens, without special ones.
    """

    def __init__(self, pack: Callable[[list[str], PreTrainedTokenizerFast, Path], Callable[[], int]]) -> None:
        quiet_libraries()
        disable_progress_bars()
        self.pack, self.tokenizer = pack, load_tokenizer(str(TOKENIZER))
        self.texts = list(open_corpus("docstrings", CorpusSettings()).documents())
        self.answers: dict[str, float] = {}

    def turn(self, amount: int) -> Turn:
        sizes = itertools.accumulate(len(text.encode()) for text in self.texts)
        texts = [text for text, size in zip(self.texts, sizes, strict=True) if size < amount * 1e6]
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            count = self.pack(texts, self.tokenizer, Path(folder))
            seconds = time.perf_counter() - began
            self.answers = {"tokens": count()}
        return Turn(sum(len(text.encode()) for text in texts) / 1e6, seconds)


def ours(texts: list[str], tokenizer: PreTrainedTokenizerFast, folder: Path) -> Callable[[], int]:
    corpus = Corpus("benchmark", "benchmark", lambda: iter(texts))
    facts = build_blocks(corpus, tokenizer, LENGTH, folder).facts
    return lambda: facts.content_tokens


def stock(texts: list[str], tokenizer: PreTrainedTokenizerFast, folder: Path) -> Callable[[], int]:
    """What the example script for masked models does without ``--line_by_line``."""
    special = tokenizer.num_special_tokens_to_add()
    raw = Dataset.from_dict({"text": texts})

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list]:
        return tokenizer(batch["text"], return_special_tokens_mask=True)

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list]:
        joined = {name: list(itertools.chain(*rows)) for name, rows in batch.items()}
        total = len(joined["input_ids"]) // LENGTH * LENGTH
        return {name: [row[n : n + LENGTH] for n in range(0, total, LENGTH)] for name, row in joined.items()}

    tokenized = raw.map(tokenize, batched=True, remove_columns=["text"], cache_file_name=str(folder / "a.arrow"))
    tokenized.map(group, batched=True, cache_file_name=str(folder / "b.arrow"))
    # Before grouping, which drops what is left of every thousand texts.
    return lambda: sum(len(row) - special for row in tokenized["input_ids"])


def encode_alone(texts: list[str], tokenizer: PreTrainedTokenizerFast, folder: Path) -> Callable[[], int]:
    """The library's own call, whose result is thrown away."""
    tokens, batch, size = 0, [], 0
    for text in [*texts, None]:
        if text is None or size > CHARACTERS_A_CALL:
            encodings = tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
            tokens += sum(map(len, encodings))
            batch, size = [], 0
        if text is not None:
            batch.append(text)
            size += len(text)
    return lambda: tokens


PACKING = Comparison(
    name="packing",
    what="text to packed rows of 128, WordPiece 8k",
    unit="MB",
    sides={
        OURS: functools.partial(PackingSide, ours),
        "datasets.map": functools.partial(PackingSide, stock),
        "encode_batch alone": functools.partial(PackingSide, encode_alone),
    },
    goals=[Goal("datasets.map", 4.0), Goal("encode_batch alone", 1.0)],
    full=Amount(turn=16, rounds=3, warm_up=1),
    quick=Amount(turn=3, rounds=2, warm_up=1),
    tolerances={"tokens": 0.0},
)
