"""Classifiers whose last layer works for the first token only give the stock class's logits and gradients."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedModel

from hfrep.models.first_token import use_first_token_only

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
FIRST = {
    "bert": SHAPE,
    "roberta": SHAPE,
    "electra": SHAPE | {"embedding_size": 16},
    "deberta-v2": SHAPE,
    "mpnet": SHAPE,
    "xlm-roberta": SHAPE,
    "camembert": SHAPE,
    "deberta": SHAPE,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
}
OTHERS = {
    "modernbert": SHAPE | {"classifier_pooling": "mean", "pad_token_id": 0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "pad_token_id": 0},
    "albert": SHAPE | {"embedding_size": 16},
    "ibert": SHAPE,
    "luke": SHAPE | {"entity_vocab_size": 8, "entity_emb_size": 8},
    "bert": SHAPE | {"chunk_size_feed_forward": 2},
}


def made(model_type: str, settings: dict[str, object]) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=128, num_labels=3, **settings)
    return AutoModelForSequenceClassification.from_config(config).eval()


def batch() -> dict[str, Tensor]:
    ids = torch.randint(5, 128, (4, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[2:, 9:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def assert_same(one: nn.Module, other: nn.Module) -> None:
    """Logits, and gradients of all weights."""
    found = []
    for model in (one, other):
        logits = model(**batch()).logits
        logits.square().sum().backward()
        found.append((logits.detach(), {name: weight.grad for name, weight in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    for name, gradient in found[1][1].items():
        # A weight without an effect has no gradient on one side and zeros on the other.
        mine = found[0][1][name]
        expected = torch.zeros(()) if gradient is None else gradient
        torch.testing.assert_close(
            torch.zeros_like(expected) if mine is None else mine, expected, rtol=1e-4, atol=1e-5, msg=name
        )


@pytest.mark.parametrize("model_type", FIRST)
def test_logits_and_gradients_are_the_same(model_type: str) -> None:
    plain = made(model_type, FIRST[model_type])
    model = copy.deepcopy(plain)
    assert use_first_token_only(model)
    assert_same(model, plain)


@pytest.mark.parametrize("model_type", OTHERS)
def test_other_classes_stay_as_they_are(model_type: str) -> None:
    plain = made(model_type, OTHERS[model_type])
    model = copy.deepcopy(plain)
    assert not use_first_token_only(model)
    assert_same(model, plain)


def test_the_feed_forward_network_sees_one_token() -> None:
    model, seen = made("bert", SHAPE), []
    for layer in model.bert.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape)))
    use_first_token_only(model)
    seen.clear()
    model(**batch())
    assert seen == [(4, 12, 48), (4, 1, 48)]


def test_adapters_too() -> None:
    plain = made("bert", SHAPE)
    torch.manual_seed(0)
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], init_lora_weights=False)
    plain = get_peft_model(plain, config).eval()
    model = copy.deepcopy(plain)
    assert use_first_token_only(model)
    assert_same(model, plain)


def test_it_stays_in_the_mode_it_was_in() -> None:
    model = made("bert", SHAPE).train()
    use_first_token_only(model)
    assert model.training
