"""Shared by all tests: no network, a cache of their own, a kilobyte corpus, and tokenizers trained on it."""

import importlib.util
import os
import random
import signal
from pathlib import Path
from types import ModuleType

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "ACCELERATE_USE_CPU": "true"}
os.environ["GOMP_SPINCOUNT"] = "1000"  # recipes that are started share the cores with other tests (recipes/README.md)

import pytest
import torch
from hub.fixture import hub as hub
from transformers import PreTrainedTokenizerFast

from hfrep.data.tokenizer import TokenizerSettings, train_tokenizer

# Where a shell started the tests in the background, they and what they start would not hear of Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # tiny models; also what makes sums alike in this process and in the ones it starts

RECIPES = Path(__file__).parents[1] / "recipes"
# Of `accelerate launch`; the port is one that is free, since other tests may launch at the same time.
TWO_PROCESSES = ("--multi_gpu", "--num_processes", "2", "--main_process_port", "0")
WORDS = (
    "the a small large old new red green river house garden window letter teacher child doctor boat mountain "
    "sees finds opens paints follows remembers carries repairs near under behind above slowly quickly often never "
    "unbelievable understanding extraordinarily don't it's well-known 3.14 co-operate"
).split()


def recipe(name: str) -> ModuleType:
    """The module of ``recipes/<name>.py``, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentences(number: int, seed: int) -> list[str]:
    """Made-up sentences; what follows a word hangs on the word, so that there is something to learn."""
    draw = random.Random(seed)
    made = []
    for _ in range(number):
        word = draw.randrange(len(WORDS))
        sentence = []
        for _ in range(draw.randint(4, 24)):
            sentence.append(WORDS[word])
            word = (word * 7 + draw.choice([1, 2, 5])) % len(WORDS)
        made.append(" ".join(sentence).capitalize() + ".")
    return made


def documents(number: int, seed: int = 0) -> list[str]:
    """Documents of one to twelve sentences."""
    draw = random.Random(seed)
    pool = iter(sentences(number * 12, seed))
    return [" ".join(next(pool) for _ in range(draw.randint(1, 12))) for _ in range(number)]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # of all processes that run tests
    os.environ["HFREP_CACHE"] = str(shared / "cache")


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 300 documents, blank lines between them."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(documents(300)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def wordpiece() -> PreTrainedTokenizerFast:
    return train_tokenizer(lambda: documents(300), TokenizerSettings(algorithm="wordpiece", vocab_size=192))


@pytest.fixture(scope="session")
def bpe() -> PreTrainedTokenizerFast:
    return train_tokenizer(lambda: documents(300), TokenizerSettings(algorithm="bpe", vocab_size=320))


@pytest.fixture(scope="session")
def tokenizer_folder(wordpiece: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "wordpiece"
    wordpiece.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_mlm(corpus_file: Path, tokenizer_folder: Path) -> list[str]:
    """Flags of recipes/mlm.py for steps that take milliseconds."""
    given = {
        "corpus": corpus_file,
        "tokenizer": tokenizer_folder,
        "model": "bert-micro",
        "sequence_length": 32,
        "train_batch_size": 8,
        "cpu_threads": 1,
        "validation_fraction": 0.05,
    }
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]
