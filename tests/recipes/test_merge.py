"""The recipe end to end on a tiny adapter."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import CARD, checkpoint
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.errors import HfrepError
from hfrep.models.classifier import open_classifier

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "merge.py"
MAIN = runpy.run_path(str(RECIPE))["main"]
LABELS = ("no", "maybe", "yes")


@pytest.fixture
def adapter(wordpiece, tmp_path):
    """A folder with an adapter whose weights are not those it began with, and its base."""
    base = checkpoint("bert", wordpiece, tmp_path / "base")
    classifier = open_classifier(str(base), labels=LABELS, pad_token_id=wordpiece.pad_token_id)
    model = add_adapter(classifier, AdapterSettings(), base=str(base))
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    return model, tmp_path / "adapter", base


def flags(adapter, output, *more):
    return ["--adapter", str(adapter), "--output_dir", str(output), "--cpu_threads", "1", *more]


def test_the_merged_model_is_a_stock_one_that_computes_the_same(adapter, wordpiece, tmp_path, capsys):
    """It opens without peft and without the base, knows its labels, and the difference that is printed is small."""
    model, folder, base = adapter
    assert MAIN(flags(folder, tmp_path / "out")) == 0
    shutil.rmtree(base)
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    assert tuple(merged.config.id2label.values()) == LABELS
    assert merged.dtype == torch.float32
    encoded = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")("the old river", return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        assert torch.allclose(merged(**inputs).logits, model(**inputs).logits, atol=1e-5)
    *_, told, written = capsys.readouterr().out.splitlines()
    assert float(told.split()[1]) < 1e-5
    assert told.endswith("at most between logits, on 4 sentences")
    assert written.endswith(str(tmp_path / "out" / "model"))
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert "- a process without hfrep opens it as BertForSequenceClassification" in card
    assert "A text classifier (0 = no, 1 = maybe, 2 = yes): an adapter merged" in card
    assert not list((tmp_path / "out").glob(".*"))


def test_an_adapter_of_the_hub_is_told_with_its_commit(adapter, tmp_path, monkeypatch):
    """Its main branch may move, and the card must not."""
    _, folder, _ = adapter
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MAIN.__globals__, "fetched", lambda name, **told: folder)
    monkeypatch.setattr("hfrep.fetching._commit", lambda *name: 40 * "a")
    assert MAIN(flags("me/tiny-verb", tmp_path / "out")) == 0
    assert f"| adapter | me/tiny-verb@{40 * 'a'} |" in (tmp_path / "out" / "model" / "README.md").read_text()


def test_a_moved_base_is_named(adapter, tmp_path, monkeypatch):
    """Without --base it says how; with it, it merges."""
    _, folder, base = adapter
    monkeypatch.chdir(tmp_path)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(HfrepError, match=r"say where that model is now, with --base of recipes/merge\.py"):
        MAIN(flags(folder, tmp_path / "out"))
    assert MAIN(flags(folder, tmp_path / "out", "--base", "elsewhere")) == 0


@pytest.mark.parametrize("kept", ["run.json", "adapter", "base"])
def test_what_is_needed_is_not_replaced(adapter, tmp_path, kept):
    """A run's folder, and a folder whose model/ is or holds the adapter or its base, are refused."""
    _, folder, base = adapter
    (tmp_path / "out" / "model").mkdir(parents=True)
    if kept == "run.json":
        (tmp_path / "out" / "run.json").touch()
    elif kept == "adapter":
        folder = folder.rename(tmp_path / "out" / "model" / "adapter")
    else:
        base = base.rename(tmp_path / "out" / "model" / "base")
    with pytest.raises(HfrepError, match="--output_dir: expected a folder whose model/ may be replaced, found"):
        MAIN(flags(folder, tmp_path / "out", "--base", str(base)))


def test_without_an_adapter_a_user_sees_one_line():
    """Started as a user starts it, it says so in one line and exits with status 2."""
    run = subprocess.run(
        [sys.executable, str(RECIPE)], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 2
    assert run.stderr == "error: --adapter: expected the folder of an adapter, found none; give --adapter.\n"
