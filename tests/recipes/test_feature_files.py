"""`recipes/features.py`: texts in, the model's own hidden states out."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from conftest import recipe, sentences
from micros import micro
from transformers import AutoModel, PreTrainedTokenizerFast

from hfrep.errors import HfrepError

TEXTS = sentences(9, seed=6)


@pytest.fixture(scope="module")
def main():
    return recipe("features").main


@pytest.fixture(scope="module")
def folder(wordpiece, tmp_path_factory):
    """A pretrained model, its tokenizer, and a file of texts."""
    folder = tmp_path_factory.mktemp("features")
    micro("bert-micro", wordpiece).save_pretrained(folder / "model")
    wordpiece.save_pretrained(folder / "model")
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return folder


def run(main, folder, output, *flags):
    given = ["--model_name_or_path", str(folder / "model"), "--texts", str(folder / "texts.txt")]
    return main([*given, "--output_file", str(folder / output), "--cpu_threads", "1", *flags])


def hidden(folder, wordpiece):
    model = AutoModel.from_pretrained(folder / "model").eval()
    with torch.inference_mode():
        return [
            [
                states[0].numpy()
                for states in model(**wordpiece(text, return_tensors="pt"), output_hidden_states=True)[2]
            ]
            for text in TEXTS
        ]


def test_an_array_holds_a_vector_a_text(main, folder, wordpiece, capsys):
    """The .npy has a row for each text in the file's order, and its folder nothing else."""
    assert run(main, folder, "out/vectors.npy", "--pooling", "cls") == 0
    theirs = np.stack([states[-1][0] for states in hidden(folder, wordpiece)])
    assert np.allclose(np.load(folder / "out/vectors.npy"), theirs, atol=1e-6)
    assert [path.name for path in (folder / "out").iterdir()] == ["vectors.npy"]
    assert "9 from" in capsys.readouterr().out


def test_a_table_holds_each_layer(main, folder, wordpiece):
    """With all layers a .parquet has a column for each beside the texts."""
    assert run(main, folder, "vectors.parquet", "--layer", "all") == 0
    table = parquet.read_table(folder / "vectors.parquet")
    theirs = hidden(folder, wordpiece)
    assert table["text"].to_pylist() == TEXTS
    for layer in range(len(theirs[0])):
        means = np.stack([states[layer].mean(0) for states in theirs])
        assert np.allclose(np.array(table[f"layer_{layer}"].to_pylist()), means, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--texts", ""], "--texts: expected a file or a folder of texts, found none"),
        (["--output_file", "v.csv"], r"--output_file: expected a file ending in .npy or .parquet, found v.csv"),
        (["--layer", "7"], "--layer: expected all, or a number from -3 to 2"),
        (["--sequence_length", "4096"], "--sequence_length: expected at most the 512 positions that"),
        (
            ["--model_name_or_path", "runs/mlm/model"],
            "expected a pretrained model, by default runs/mlm/model, found no",
        ),
    ],
)
def test_mistakes_are_told(main, folder, tmp_path, monkeypatch, flags, told):
    """What is missing or impossible is one sentence."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HfrepError, match=told):
        run(main, folder, "unused.npy", *flags)


def test_a_tokenizer_that_cannot_pad_is_told(main, folder, wordpiece, tmp_path):
    """Texts of different lengths need something to be filled up with."""
    PreTrainedTokenizerFast(tokenizer_object=wordpiece.backend_tokenizer).save_pretrained(tmp_path / "bare")
    told = "expected a pad token, or an end or unknown token that can stand for it, found none of them; add one"
    with pytest.raises(HfrepError, match=told):
        run(main, folder, "unused.npy", "--tokenizer", str(tmp_path / "bare"))


def test_no_texts_are_told(main, folder, tmp_path):
    """A row without text has no vector, and leaving it out would number the others anew."""
    (tmp_path / "blank.txt").write_text("A house.\n\nA boat.\n", encoding="utf-8")
    with pytest.raises(HfrepError, match=r"blank.txt: expected a text in each row, found none in 2; fill it"):
        run(main, folder, "unused.npy", "--texts", str(tmp_path / "blank.txt"))
