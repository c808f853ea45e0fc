"""Datasets and tokenizers go to a Hub on this machine and come back: prepared blocks, tokenizers, corpora."""

import json
import subprocess
import sys

import pytest
from conftest import RECIPES, documents
from huggingface_hub import constants
from transformers import AutoTokenizer

from hfrep.data.prepared_blocks import PreparedBlocks


def run(hub, home, name, *flags):
    """What ``python recipes/<name>.py`` printed, with `home` as its cache of the Hub."""
    done = subprocess.run(
        [sys.executable, str(RECIPES / f"{name}.py"), *map(str, flags)],
        env=hub.environment(home) | {"HFREP_CACHE": str(home / "hfrep")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def blocks(hub, corpus_file, tokenizer_folder, tmp_path_factory):
    """Prepared blocks that were pushed as me/blocks: the folder and what was printed."""
    folder = tmp_path_factory.mktemp("prepared")
    told = run(
        *(hub, folder / "home", "prepare"),
        *("--corpus", corpus_file, "--tokenizer", tokenizer_folder, "--sequence_length", 32),
        *("--validation_fraction", 0.05, "--output_dir", folder / "blocks"),
        *("--push_to_hub", "--hub_model_id", "me/blocks", "--language", "en", "--license", "mit"),
    )
    return folder / "blocks", told


OPEN_BLOCKS = """
import json, sys
sys.modules["hfrep"] = None
from huggingface_hub import DatasetCard
card = DatasetCard.load("me/blocks")
names = {}
exec(card.text.split("```python")[1].split("```")[0], names)
sizes = {split: len(rows) for split, rows in names["rows"].items()}
print(json.dumps([sizes, names["rows"]["train"][5]["input_ids"], card.data.to_dict(), len(names["tokenizer"])]))
"""


def test_blocks_arrive_as_a_dataset(hub, blocks, tmp_path):
    """One commit with rows, facts, tokenizer and card; the card's snippet opens it without hfrep in an empty cache."""
    import pyarrow.parquet

    folder, told = blocks
    assert f"pushed     {hub.url}/datasets/me/blocks at " in told
    assert not hub.exists("me/blocks")
    names = set(hub.files("me/blocks", repo_type="dataset")) - {".gitattributes"}
    outbox = {path.relative_to(folder).as_posix() for path in (folder / "outbox").rglob("*")}
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - outbox - {".lock"}
    assert names == here
    sizes, ids, card, vocabulary = json.loads(hub.python(OPEN_BLOCKS, tmp_path, token=None).stdout.splitlines()[-1])
    (file,) = (folder / "data").glob("train-*")
    rows = pyarrow.parquet.read_table(file)["input_ids"]
    assert sizes["train"] == len(rows)
    assert ids == rows[5].as_py()
    assert (card["license"], card["language"], vocabulary) == ("mit", ["en"], 192)


def test_training_starts_from_the_hub(hub, blocks, tmp_path, monkeypatch):
    """On a machine that has neither text nor tokenizer; the record names the commit, and the rows are the same ones."""
    folder, _ = blocks
    shape = ("--model", "bert-micro", "--train_batch_size", 8, "--max_steps", 2, "--cpu_threads", 1)
    run(hub, tmp_path, "mlm", "--blocks", "me/blocks", *shape, "--output_dir", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    name = f"me/blocks@{hub.commits('me/blocks', repo_type='dataset')[0]['id']}"
    assert record["settings"]["blocks"] == name
    splits = json.loads((folder / "blocks.json").read_text())["splits"]
    assert record["identity"]["text"] == "/".join(splits[split][0]["fingerprint"] for split in ("train", "validation"))
    assert "datasets:\n- me/blocks\n" in (tmp_path / "run" / "model" / "README.md").read_text()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))  # what it fetched, now without a network
    assert PreparedBlocks.open("me/blocks").name == name


REFUSED = """
from hfrep.data.prepared_blocks import PreparedBlocks
from hfrep.errors import HfrepError
for name in ("me/nothing", "me/a-model", "me/texts-only", "me/blocks@v9"):
    try:
        PreparedBlocks.open(name)
    except HfrepError as error:
        print(error)
"""


def test_what_the_hub_has_not(hub, blocks, tmp_path):
    """A dataset that is not there, a model of the name, one that holds no blocks, and a revision that there is not."""
    hub.create("me/a-model")
    hub.create("me/texts-only", repo_type="dataset")
    nothing, model, none, revision = hub.python(REFUSED, tmp_path).stdout.splitlines()
    assert "--blocks me/nothing: expected a folder with" in nothing
    assert "no dataset me/nothing there" in nothing
    assert "the name of a dataset on the Hub, found no folder me/a-model, and no dataset me/a-model there" in model
    assert "me/texts-only: expected rows made by recipes/prepare.py (blocks.json), found none; name the" in none
    assert "expected a branch, a tag or a whole commit of me/blocks, found v9; give main." in revision


PUSH = """
import runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
for folder in sys.argv[2:]:
    main([folder, "--language", "en", "--license", "mit"])
"""


def test_pushed_again_nothing_changes(hub, blocks, words, tmp_path):
    """recipes/push.py knows what the folders hold and where they went, and sends nothing twice."""
    before = hub.commits("me/blocks", repo_type="dataset"), hub.commits("me/words")
    command = [sys.executable, "-c", PUSH, str(RECIPES / "push.py"), str(blocks[0]), str(words[0])]
    done = subprocess.run(command, env=hub.environment(tmp_path), capture_output=True, text=True, check=True)
    for place, (newest, *_) in zip(("datasets/me/blocks", "me/words"), before, strict=True):
        assert f"pushed     {hub.url}/{place} at {newest['id'][:12]}" in done.stdout
    assert (hub.commits("me/blocks", repo_type="dataset"), hub.commits("me/words")) == before


OPEN_TOKENIZER = """
import json, sys
sys.modules["hfrep"] = None
from huggingface_hub import ModelCard
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("me/words")
card = ModelCard.load("me/words")
print(json.dumps([tokenizer("the small house, unbelievably").input_ids, card.data.to_dict()]))
"""


@pytest.fixture(scope="module")
def words(hub, corpus_file, tmp_path_factory):
    """A tokenizer that was pushed as me/words: the folder and what was printed."""
    folder = tmp_path_factory.mktemp("tokenizer")
    told = run(
        *(hub, folder / "home", "train_tokenizer"),
        *("--corpus", corpus_file, "--vocab_size", 192, "--output_dir", folder / "words"),
        *("--push_to_hub", "--language", "en", "--license", "mit"),
    )
    return folder / "words", told


def test_tokenizer(hub, words, tmp_path):
    """It opens elsewhere and gives the same ids, and its card says what it is."""
    folder, told = words
    assert f"pushed     {hub.url}/me/words at " in told
    ids, card = json.loads(hub.python(OPEN_TOKENIZER, tmp_path, token=None).stdout)
    assert ids == AutoTokenizer.from_pretrained(folder)("the small house, unbelievably").input_ids
    assert (card["library_name"], card["language"], card["license"]) == ("transformers", ["en"], "mit")
    assert "tokenizer" in card["tags"]
    assert set(hub.files("me/words")) - {".gitattributes"} == {"README.md", "tokenizer.json", "tokenizer_config.json"}


READ = """
import json, sys
from hfrep.data.corpus import CorpusSettings, open_corpus
print(json.dumps([
    list(open_corpus(name, CorpusSettings(streaming=streaming)).documents())
    for name in json.loads(sys.stdin.read()) for streaming in (False, True)
]))
"""


def test_corpus(hub, tmp_path, monkeypatch):
    """A dataset of the Hub is read map-style and streamed, as it is and as it was at a commit."""
    monkeypatch.setenv("HFREP_CACHE", str(tmp_path / "hfrep"))
    first, second = documents(5), documents(7, seed=1)
    hub.create("me/texts", repo_type="dataset")
    commits = [
        hub.commit("me/texts", {"train.jsonl": lines(texts).encode()}, repo_type="dataset") for texts in (first, second)
    ]
    names = ["me/texts", f"me/texts@{commits[0]}"]
    done = hub.python(READ, tmp_path / "home", input=json.dumps(names))
    assert json.loads(done.stdout) == [second, second, first, first]


def lines(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)
