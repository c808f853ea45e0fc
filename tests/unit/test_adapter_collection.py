"""Several adapters on one base: each computes as if it were alone."""

import json

import pytest
import torch
from checkpoints import CARD, KINDS, checkpoint
from conftest import sentences

from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.errors import ConfigError
from hfrep.models.adapter_collection import load_adapters
from hfrep.models.adapter_files import open_adapter
from hfrep.models.classifier import open_classifier

TASKS = {"two": ("no", "yes"), "three": ("no", "maybe", "yes"), "number": None, "other": ("bad", "good")}


@pytest.fixture(scope="module")
def inputs(wordpiece):
    encoded = wordpiece(sentences(3, seed=3), padding=True, truncation=True, max_length=40, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def adapter(base, tokenizer, folder, labels, *, seed, settings=None):
    """Save an adapter whose weights are drawn by `seed`."""
    torch.manual_seed(seed)
    classifier = open_classifier(str(base), labels=labels, pad_token_id=tokenizer.pad_token_id)
    model = add_adapter(classifier, settings or AdapterSettings(), base=str(base))
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
    save_adapter(model, tokenizer, folder, labels=labels, card=CARD)
    return str(folder)


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


@pytest.mark.parametrize("kind", KINDS)
def test_each_adapter_computes_as_if_alone(kind, wordpiece, inputs, tmp_path):
    """For one, two and three labels, in any order of switching, and with the names of its own labels."""
    base = checkpoint(kind, wordpiece, tmp_path / "base")
    names = {
        task: adapter(base, wordpiece, tmp_path / task, labels, seed=seed)
        for seed, (task, labels) in enumerate(TASKS.items())
    }
    collection = load_adapters(names)
    assert {task: labels for task, labels in collection.labels.items() if task != "number"} == {
        task: labels for task, labels in TASKS.items() if labels is not None
    }
    alone = {task: logits(open_adapter(tmp_path / task)[0], inputs) for task in TASKS}
    assert torch.equal(logits(collection.model, inputs), alone["two"]), "the first one is switched on"
    for task in ("three", "number", "two", "other", "three", "two"):
        model = collection.switch_to(task)
        assert (logits(model, inputs) - alone[task]).abs().max() < 1e-6
        assert model.config.num_labels == alone[task].shape[1]
        assert tuple(model.config.id2label.values()) == collection.labels[task]
        assert not model.training
        assert not any(part.requires_grad for part in model.parameters())


def test_the_loss_is_that_of_the_task(wordpiece, inputs, tmp_path):
    """The class looks at the number of labels, and at whether a number is predicted."""
    base = checkpoint("bert", wordpiece, tmp_path / "base")
    names = {task: adapter(base, wordpiece, tmp_path / task, TASKS[task], seed=1) for task in ("three", "number")}
    collection = load_adapters(names)
    for task, targets in (("number", torch.tensor([0.5, 1, 2])), ("three", torch.tensor([0, 2, 1]))):
        with torch.no_grad():
            loss = collection.switch_to(task)(**inputs, labels=targets).loss
            assert torch.equal(loss, open_adapter(tmp_path / task)[0](**inputs, labels=targets).loss)


def test_what_does_not_belong_together_is_told(wordpiece, bpe, tmp_path):
    """Another base, method or tokenizer, an unknown task, none at all."""
    base = checkpoint("bert", wordpiece, tmp_path / "base")
    method = tmp_path / "method.json"
    method.write_text(json.dumps({"peft_type": "IA3"}))
    first = adapter(base, wordpiece, tmp_path / "first", TASKS["two"], seed=1)
    ia3 = adapter(
        base, wordpiece, tmp_path / "ia3", TASKS["two"], seed=1, settings=AdapterSettings(peft_config=str(method))
    )
    moved = checkpoint("bert", wordpiece, tmp_path / "another", hidden_act="relu", num_hidden_layers=1)
    elsewhere = adapter(moved, wordpiece, tmp_path / "elsewhere", TASKS["two"], seed=1)
    decoder = adapter(
        checkpoint("gpt2", wordpiece, tmp_path / "gpt2"), wordpiece, tmp_path / "decoder", TASKS["two"], seed=1
    )
    with pytest.raises(ConfigError, match=f"adapter {ia3}: expected LORA on BertForSequenceClassification of .*IA3 on"):
        load_adapters({"first": first, "ia3": ia3})
    with pytest.raises(ConfigError, match=f"expected LORA on Bert.* of {first}, found LORA on GPT2For"):
        load_adapters({"first": first, "decoder": decoder})
    with pytest.raises(
        ConfigError, match=f"adapter {elsewhere}: expected the base model of {first}, found another; se"
    ):
        load_adapters({"first": first, "elsewhere": elsewhere})
    again = adapter(base, wordpiece, tmp_path / "again", TASKS["three"], seed=2)
    bpe.save_pretrained(again)
    with pytest.raises(ConfigError, match=f"adapter {again}: expected the tokenizer of {first}, found another"):
        load_adapters({"first": first, "again": again})
    with pytest.raises(ConfigError, match="the adapters: expected one of first, found second; load it with the others"):
        load_adapters({"first": first}).switch_to("second")
    with pytest.raises(ConfigError, match="the adapters: expected one or more, found none; name them"):
        load_adapters({})


def test_a_base_that_is_named(wordpiece, inputs, tmp_path):
    """Where the base has moved, it is told once for all."""
    base = checkpoint("bert", wordpiece, tmp_path / "base")
    names = {task: adapter(base, wordpiece, tmp_path / task, TASKS[task], seed=1) for task in ("two", "three")}
    before = logits(open_adapter(tmp_path / "three")[0], inputs)
    base.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="say where that model is now"):
        load_adapters(names)
    collection = load_adapters(names, base=str(tmp_path / "moved"))
    assert torch.equal(logits(collection.switch_to("three"), inputs), before)
