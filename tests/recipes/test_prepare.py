"""The recipe that stores packed rows: what it leaves, that a run from it is the run from the text, what it refuses."""

import json
import shutil

import conftest
import pytest
from conftest import documents

from hfrep.errors import ConfigError, DataError

PREPARE, MLM, CLM = (conftest.recipe(name) for name in ("prepare", "mlm", "clm"))


@pytest.fixture(scope="module")
def text_flags(corpus_file, tokenizer_folder):
    given = {"corpus": corpus_file, "tokenizer": tokenizer_folder, "sequence_length": 32, "validation_fraction": 0.05}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def blocks(text_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "deep" / "blocks"
    assert PREPARE.main([*text_flags, "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another machine, which has not packed the text."""
    monkeypatch.setenv("HFREP_CACHE", str(tmp_path / "another-cache"))


def train(folder, *flags):
    """A short run: its weights and what ``run.json`` says."""
    shape = ("--model", "bert-micro", "--train_batch_size", "8", "--cpu_threads", "1")
    steps = ("--max_steps", "6", "--save_steps", "3", "--output_dir", str(folder))
    assert MLM.main([*map(str, flags), *shape, *steps]) == 0
    return (folder / "model" / "model.safetensors").read_bytes(), json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def from_text(text_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "text"
    return folder, *train(folder, *text_flags)


def test_what_it_prints_and_leaves(text_flags, blocks, capsys):
    """What a run prints of its text and, last, the folder; done again, it says the same and writes nothing."""
    before = {path: path.stat().st_mtime_ns for path in blocks.rglob("*")}
    assert PREPARE.main([*text_flags, "--output_dir", str(blocks)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("text       ")
    assert "corpus.txt: 284 documents, " in printed[0]
    assert printed[-1] == f"blocks: {blocks}"
    assert {path: path.stat().st_mtime_ns for path in blocks.rglob("*")} == before
    names = sorted(path.relative_to(blocks).as_posix() for path in blocks.rglob("*") if path.is_file())
    assert names == [
        "README.md",
        "blocks.json",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ]


def test_it_proves_what_it_wrote(text_flags, tmp_path, capsys):
    """The rows are read back before the folder gets its name."""
    PREPARE.main([*text_flags, "--output_dir", str(tmp_path / "blocks")])
    assert "proved     read back, the " in capsys.readouterr().out


def test_stock_tools_open_it(blocks, tmp_path):
    """`load_dataset` finds the splits and nothing else, in shapes that become tensors; AutoTokenizer decodes them."""
    import datasets
    from transformers import AutoTokenizer

    opened = datasets.load_dataset(str(blocks), cache_dir=str(tmp_path))
    assert list(opened) == ["train", "validation"]
    assert opened["train"].column_names == ["input_ids", "segment_ids", "word_starts", "corpus"]
    row = opened["train"].with_format("torch")[0]
    assert row["input_ids"].shape == row["segment_ids"].shape == row["word_starts"].shape == (32,)
    assert row["segment_ids"][0] == 1
    tokenizer = AutoTokenizer.from_pretrained(blocks / "tokenizer")
    text = tokenizer.decode(row["input_ids"])
    assert text.startswith("[CLS] ")
    assert {word.strip(".") for word in text.lower().split()} & set(conftest.WORDS)


@pytest.mark.usefixtures("elsewhere")
def test_a_run_from_blocks_is_the_run_from_the_text(blocks, from_text, tmp_path):
    """The same weights, bit for bit, and the same identity."""
    _, weights, run = from_text
    ours, told = train(tmp_path / "run", "--blocks", blocks)
    assert ours == weights
    assert told["identity"] == run["identity"]
    assert told["text"].split(":")[1] == run["text"].split(":")[1]
    assert told["settings"]["corpus"] == ["corpus.txt"]


@pytest.mark.usefixtures("elsewhere")
def test_a_run_from_the_text_goes_on_from_blocks(blocks, from_text, tmp_path):
    """Stopped after the third step, it goes on with the blocks, and ends with the same weights."""
    folder, weights, run = from_text
    stopped = shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(stopped / "checkpoints" / "step-6")
    (stopped / "checkpoints" / "latest").write_text("step-3\n")
    (stopped / "run.json").write_text(json.dumps({name: run[name] for name in run if name != "result"}))
    ours, told = train(stopped, "--blocks", blocks)
    assert "resumed from step-3" in told["budget"]
    assert ours == weights


@pytest.mark.usefixtures("elsewhere")
def test_decoders_train_from_blocks(corpus_file, bpe, tmp_path, capsys):
    """recipes/clm.py takes rows made for decoders, and tells of them what it tells of the text; mlm.py does not."""
    bpe.save_pretrained(tmp_path / "bpe")
    folder = tmp_path / "blocks"
    flags = ["--corpus", str(corpus_file), "--tokenizer", str(tmp_path / "bpe"), "--rows", "decoder"]
    assert PREPARE.main([*flags, "--output_dir", str(folder)]) == 0
    prepared = capsys.readouterr().out
    run = ["--blocks", str(folder), "--model", "gpt2-micro", "--output_dir", str(tmp_path / "run"), "--dry_run"]
    assert CLM.main(run) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("text "))
    assert " rows of 256," in told
    assert told.split(":")[1] in prepared
    with pytest.raises(DataError, match="expected rows framed for an encoder, found rows for a decoder"):
        MLM.main(["--blocks", str(folder), "--output_dir", str(tmp_path / "run")])


def test_a_failure_leaves_nothing(text_flags, tmp_path, monkeypatch):
    """The folder gets its name when all is in it and proved; what a kill left is written over."""

    def fail(*_):
        raise KeyboardInterrupt

    folder = tmp_path / "blocks"
    with monkeypatch.context() as broken:
        broken.setattr(PREPARE, "prove_prepared", fail)
        with pytest.raises(KeyboardInterrupt):
            PREPARE.main([*text_flags, "--output_dir", str(folder)])
    assert not folder.exists()
    assert PREPARE.main([*text_flags, "--output_dir", str(folder)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["blocks"]


def test_other_rows_are_not_written_over(text_flags, blocks, tmp_path):
    """Rows of another text, kind or tokenizer want another folder."""
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(documents(50, seed=3)))
    words = (
        r"expected a new folder, or the rows of this text and these settings, found encoder rows of corpus\.txt made"
    )
    with pytest.raises(ConfigError, match=words):
        PREPARE.main([*text_flags, "--corpus", str(other), "--output_dir", str(blocks)])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--corpus_weights", "1"], "--corpus_weights: expected it where a model is trained from the blocks, found"),
        (
            ["--documents", "join"],
            "--documents: expected it where a model is trained from the blocks, found join; leave",
        ),
        (
            ["--output_dir", "full"],
            r"full: expected a new folder, or one that this recipe has filled, found a\.txt; give",
        ),
        (["--output_dir", "full/a.txt"], r"a\.txt: expected a new folder, or .*, found a file; give another"),
        (["--rows", "both"], "invalid choice: 'both'"),
        (["--hub_model_id", "me/blocks"], "--hub_model_id: expected --push_to_hub beside it, found none"),
    ],
)
def test_what_is_refused(text_flags, tmp_path, monkeypatch, flags, words):
    """Before any text is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PREPARE, "pack_text", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("theirs")
    with pytest.raises(ConfigError, match=words):
        PREPARE.main([*text_flags, *flags])
