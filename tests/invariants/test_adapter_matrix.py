"""Every method on every kind of model: it trains, leaves the rest alone, is saved and reopened, or is refused."""

import json
import re

import pytest
import torch
from checkpoints import CARD, DECODERS, KINDS, checkpoint
from conftest import sentences
from peft import PeftConfig, PeftModel, get_peft_model

from hfrep.adaptation.adapter_methods import REFUSED
from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.errors import ConfigError
from hfrep.models.adapter_files import open_adapter
from hfrep.models.classifier import open_classifier
from hfrep.models.merging import merge

LABELS = ("no", "maybe", "yes")
METHODS = {
    "LoRA": {"peft_type": "LORA", "r": 4},
    "DoRA": {"peft_type": "LORA", "r": 4, "use_dora": True},
    "rsLoRA": {"peft_type": "LORA", "r": 4, "use_rslora": True},
    "PiSSA": {"peft_type": "LORA", "r": 4, "init_lora_weights": "pissa"},
    "LoRA with biases": {"peft_type": "LORA", "r": 4, "bias": "all"},
    "IA3": {"peft_type": "IA3"},
    "LN-tuning": {"peft_type": "LN_TUNING"},
    "prefix tuning": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3},
    "prompt tuning": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3},
    "P-tuning": {"peft_type": "P_TUNING", "num_virtual_tokens": 3},
}
PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")


@pytest.fixture(scope="module")
def bases(wordpiece, tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {kind: checkpoint(kind, wordpiece, root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def inputs(wordpiece):
    texts = sorted(sentences(4, seed=3), key=len)
    encoded = wordpiece(texts, padding=True, truncation=True, max_length=40, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def opened(base, wordpiece):
    torch.manual_seed(1)
    return open_classifier(str(base), labels=LABELS, pad_token_id=wordpiece.pad_token_id)


def settings(method, folder):
    file = folder / "method.json"
    file.write_text(json.dumps(METHODS[method]))
    return AdapterSettings(peft_config=str(file))


def refusal(method, kind):
    """What the table says of a method and a kind of model, or None."""
    kinds = (kind, "decoder", "any") if kind in DECODERS else (kind, "any")
    return next((REFUSED[key] for one in kinds if (key := (METHODS[method]["peft_type"], one)) in REFUSED), None)


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


def step(model, inputs):
    """One optimizer step on made-up labels."""
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=0.05)
    model.train()
    model(**inputs, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_cell(method, kind, bases, inputs, wordpiece, tmp_path):
    """It moves what it trains and the new head, nothing else, and what is saved computes the same; or it is refused."""
    classifier, given = opened(bases[kind], wordpiece), settings(method, tmp_path)
    if refusal(method, kind):
        with pytest.raises(ConfigError, match=re.escape(refusal(method, kind))):
            add_adapter(classifier, given, base=str(bases[kind]))
        return
    model = add_adapter(classifier, given, base=str(bases[kind]))
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    step(model, inputs)
    still = {name for name, part in model.named_parameters() if torch.equal(part, before[name])}
    trained = {name for name, part in model.named_parameters() if part.requires_grad}
    assert not still & trained, "what takes part in training moves"
    assert still == before.keys() - trained, "what is frozen is bit-equal"

    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    reopened, _ = open_adapter(tmp_path / "adapter")
    computed = logits(model, inputs)
    assert torch.equal(logits(reopened, inputs), computed)
    assert not torch.allclose(computed, logits(opened(bases[kind], wordpiece).model, inputs), atol=1e-3)

    length = int(inputs["attention_mask"][0].sum())
    alone = logits(model, {name: part[:1, :length] for name, part in inputs.items()})
    assert torch.allclose(alone, computed[:1], atol=1e-5), "padding is not seen"

    if METHODS[method]["peft_type"] not in PROMPTS:
        merged, difference = merge(reopened, inputs)
        assert difference <= 1e-5
        assert merged.state_dict().keys() == opened(bases[kind], wordpiece).model.state_dict().keys()


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("method", ["prompt tuning", "P-tuning"])
def test_prompts_before_a_decoder_are_refused_for_cause(method, kind, bases, inputs, wordpiece):
    """peft takes them, and gives a text other logits when padding follows: the class reads the last position."""
    config = PeftConfig.from_peft_type(**METHODS[method], task_type="SEQ_CLS")
    model = get_peft_model(opened(bases[kind], wordpiece).model, config)
    length = int(inputs["attention_mask"][0].sum())
    assert length < inputs["attention_mask"].shape[1]
    alone = logits(model, {name: part[:1, :length] for name, part in inputs.items()})
    assert (alone - logits(model, inputs)[:1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["distilbert", "modernbert"])
def test_prefixes_are_refused_for_cause(kind, bases, inputs, wordpiece):
    """The layers of these classes take no keys and values from outside."""
    sizes = {"token_dim": 16, "num_attention_heads": 2, "num_layers": 2}
    config = PeftConfig.from_peft_type(**METHODS["prefix tuning"], **sizes, task_type="SEQ_CLS")
    model = get_peft_model(opened(bases[kind], wordpiece).model, config)
    with pytest.raises(ValueError, match="past key values"):
        model(**inputs)


def test_a_random_decomposition_is_refused_for_cause(bases, inputs, wordpiece, tmp_path):
    """peft reopens it with another split of the weights than it was trained with."""
    config = PeftConfig.from_peft_type(peft_type="LORA", init_lora_weights="pissa_niter_1", r=4, task_type="SEQ_CLS")
    config.target_modules = ["query"]
    model = get_peft_model(opened(bases["bert"], wordpiece).model, config)
    step(model, inputs)
    model.save_pretrained(tmp_path)
    again = opened(bases["bert"], wordpiece).model
    torch.manual_seed(2)
    reopened = PeftModel.from_pretrained(again, tmp_path)
    assert (logits(reopened, inputs) - logits(model, inputs)).abs().max() > 1e-4
