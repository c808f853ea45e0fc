"""Objectives that predict a target: their sums are those of the stock classes' means."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from hfrep.objectives.linear_probe import Head, LinearProbe
from hfrep.objectives.supervised import Supervised

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


def batch(targets):
    torch.manual_seed(1)
    ids = torch.randint(5, 50, (6, 9))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "targets": targets}


@pytest.mark.parametrize("labels", [1, 3], ids=["regression", "classes"])
def test_sum_over_examples_is_the_class_loss_times_their_number(labels):
    """What is summed is what the stock class averages."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**TINY, num_labels=labels)).eval()
    targets = torch.tensor([0, 2, 1, 1, 0, 2]) if labels > 1 else torch.tensor([0.5, 2, 1, 4.5, 3, 0])
    given = batch(targets)
    objective = Supervised(model, regression=labels == 1).eval()
    theirs = model(given["input_ids"], given["attention_mask"], labels=targets).loss
    assert objective.counts(given) == {"supervised": 6}
    assert torch.allclose(objective(given)["supervised"], theirs * 6)


def probe(heads, outputs=3, **more):
    features = np.random.default_rng(0).normal(2.0, 3.0, (64, 2, 8)).astype(np.float32)
    objective = LinearProbe(
        heads, base_rate=1e-3, mean=features.mean(0), deviation=features.std(0), outputs=outputs, **more
    )
    return objective, {"features": torch.from_numpy(features), "targets": torch.from_numpy(np.arange(64) % outputs)}


def trained(heads, steps=20):
    objective, given = probe(heads, regression=False)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(steps):
        (objective(given)["supervised"] / 64).backward()
        optimizer.step()
        optimizer.zero_grad()
    return objective, given


def test_heads_side_by_side_learn_as_alone():
    """A head gives the same scores whether others train beside it or not."""
    heads = [Head(0, 1e-3), Head(1, 1e-2), Head(1, 3e-2)]
    together, given = trained(heads)
    for number, head in enumerate(heads):
        alone, _ = trained([head])
        assert torch.allclose(together.logits(given)[:, number], alone.logits(given)[:, 0], atol=1e-5)


def test_a_head_learns_at_its_own_rate():
    """A head of ten times the optimizer's rate moves as under an optimizer with that rate."""
    fast, given = trained([Head(0, 1e-2)])
    plain, _ = probe([Head(0, 1e-3)], regression=False)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(20):
        (plain(given)["supervised"] / 64).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.allclose(fast.logits(given), plain.logits(given), rtol=1e-3, atol=1e-4)


def test_a_folded_head_takes_features_as_they_are():
    """Weight and bias for plain features give the scores that the standardizing head gives."""
    objective, given = trained([Head(0, 1e-2), Head(1, 1e-3)])
    for number, layer in enumerate((0, 1)):
        weight, bias = objective.folded(number)
        scores = given["features"][:, layer] @ weight.T + bias
        assert torch.allclose(scores, objective.logits(given)[:, number], atol=1e-5)


def test_a_regression_starts_at_its_center():
    """Before training each value is predicted to be the mean, and a folded head keeps that."""
    objective, given = probe([Head(0, 1e-3)], outputs=1, regression=True, center=2.5)
    assert torch.equal(objective.logits(given), torch.full((64, 1, 1), 2.5))
    weight, bias = objective.folded(0)
    assert torch.allclose(given["features"][:, 0] @ weight.T + bias, torch.tensor(2.5))


def test_constant_features_do_no_harm():
    """A feature that varies by rounding only counts for nothing, also where its weight is folded."""
    constant = 3 + 1e-6 * np.random.default_rng(0).normal(size=(4, 1, 3)).astype(np.float32)
    objective = LinearProbe(
        [Head(0, 1e-3)], base_rate=1e-3, mean=constant.mean(0), deviation=constant.std(0), outputs=2, regression=False
    )
    with torch.no_grad():
        objective.kept["weight"].fill_(1.0)
    assert torch.equal(objective.logits({"features": torch.from_numpy(constant)}), torch.zeros(4, 1, 2))
    weight, bias = objective.folded(0)
    assert not weight.any()
    assert not bias.any()
