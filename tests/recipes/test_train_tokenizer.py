"""The recipe that trains a tokenizer: what it writes and prints, and which output folders it leaves alone."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import documents

from hfrep.errors import ConfigError

ROOT = Path(__file__).parents[2]
RECIPE = runpy.run_path(str(ROOT / "recipes" / "train_tokenizer.py"))
OPEN = """
import sys
sys.modules["hfrep"] = None  # what follows must not need it
from transformers import AutoTokenizer
opened = AutoTokenizer.from_pretrained(sys.argv[1])
print(len(opened), opened.pad_token, opened.mask_token_id, opened.model_max_length)
print(opened.decode(opened("the house").input_ids))
"""


@pytest.fixture
def arguments(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(documents(300)))
    return ["--corpus", str(text), "--vocab_size", "192", "--model_max_length", "99"]


def test_trains_and_proves(arguments, tmp_path, capsys):
    """The folder opens with the stock class where hfrep cannot be imported; the proof and the hash are printed."""
    folder = tmp_path / "deep" / "tokenizer"
    assert RECIPE["main"]([*arguments, "--output_dir", str(folder)]) == 0
    printed = capsys.readouterr().out
    for words in ("tokenizer  wordpiece, 192 tokens, from", "tokens per word", "hash  ", str(folder)):
        assert words in printed
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    opened = subprocess.run([sys.executable, "-c", OPEN, str(folder)], capture_output=True, text=True, check=True)
    assert opened.stdout.splitlines() == ["192 [PAD] 4 99", "[CLS] the house [SEP]"]


def test_own_tokenizer_is_replaced(arguments, tmp_path):
    """Run again, the recipe replaces its own tokenizer by the same bytes."""
    folder = tmp_path / "tokenizer"
    written = []
    for _ in range(2):
        RECIPE["main"]([*arguments, "--output_dir", str(folder)])
        written.append((folder / "tokenizer.json").read_bytes())
    assert written[0] == written[1]


def test_folder_of_a_model_is_left_alone(arguments, tmp_path):
    """A model's folder also holds a tokenizer.json; its weights would mean other tokens if that were replaced."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("theirs")
    words = r"only a tokenizer to replace, found config\.json, model\.safetensors; give another --output_dir"
    with pytest.raises(ConfigError, match=words):
        RECIPE["main"]([*arguments, "--output_dir", str(folder)])
    assert (folder / "tokenizer.json").read_text() == "theirs"


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("", "output_dir: expected a folder, found none; give --output_dir"),
        ("text.txt", "only a tokenizer to replace, found a file; give another"),
        ("text.txt/below", r"expected a folder that can be written, found .*; give another"),
    ],
)
def test_bad_output_folder(arguments, tmp_path, inside, words, monkeypatch):
    """No folder, a file, or one that cannot be made is refused before any training."""
    monkeypatch.setitem(RECIPE["main"].__globals__, "train_tokenizer", None)
    with pytest.raises(ConfigError, match=words):
        RECIPE["main"]([*arguments, "--output_dir", str(tmp_path / inside) if inside else ""])
