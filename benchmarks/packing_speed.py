"""Tokenizing and packing against `Tokenizer.encode_batch` alone, on the same text in one run.

Ours writes rows with document and word boundaries to disk; the other side only encodes and throws the result away.
They take turns, and the medians are compared.

    python benchmarks/packing_speed.py --rounds 5
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from hfrep.data.blocks import build_blocks
from hfrep.data.corpus import Corpus, CorpusSettings, open_corpus
from hfrep.data.tokenizer import load_tokenizer

TOKENIZER = Path(__file__).parent.parent / "tokenizers" / "wordpiece-8k"
CHARACTERS_A_CALL = 2_000_000


def encode_alone(tokenizer, texts: list[str]) -> float:
    began = time.perf_counter()
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > CHARACTERS_A_CALL:
            tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
            batch, size = [], 0
    tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
    return time.perf_counter() - began


def tokenize_and_pack(tokenizer, texts: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus("benchmark", "benchmark", lambda: iter(texts))
        began = time.perf_counter()
        build_blocks(corpus, tokenizer, 128, Path(folder))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    rounds = parser.parse_args().rounds
    texts = list(open_corpus("docstrings", CorpusSettings()).documents())
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    tokenizer = load_tokenizer(str(TOKENIZER))
    encode_alone(tokenizer, list(itertools.islice(texts, 500)))
    alone, ours = [], []
    for _ in range(rounds):
        alone.append(encode_alone(tokenizer, texts))
        ours.append(tokenize_and_pack(tokenizer, texts))
    ratio = statistics.median(theirs / mine for theirs, mine in zip(alone, ours, strict=True))
    print(f"{megabytes:.1f} MB of text, WordPiece 8k")
    print(f"encode_batch alone      {megabytes / statistics.median(alone):.2f} MB/s")
    print(f"tokenizing and packing  {megabytes / statistics.median(ours):.2f} MB/s   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
