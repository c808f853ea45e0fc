"""Budgets, schedules and parameter groups."""

import micros
import pytest
import torch
from torch import nn
from transformers.modeling_utils import EmbeddingAccessMixin
from transformers.pytorch_utils import Conv1D

from hfrep.errors import ConfigError
from hfrep.training.budget import Budget, BudgetSettings
from hfrep.training.optim import LearningRate, OptimizerSettings, build_optimizers

SIZES = {"rows": 100, "batch_rows": 8, "row_tokens": 16}


@pytest.mark.parametrize(
    ("given", "steps"),
    [({"max_steps": 7}, 7), ({"num_train_epochs": 2}, 25), ({"max_tokens": 1000}, 8), ({"num_train_epochs": 0.1}, 2)],
)
def test_budgets_in_steps(given, steps):
    """Steps, epochs and tokens become optimizer steps, rounded up."""
    assert Budget.of(BudgetSettings(**given), **SIZES).steps == steps


def test_a_budget_in_minutes_follows_the_clock():
    """Progress is training time over the budget, and the run ends when it reaches 1."""
    budget = Budget.of(BudgetSettings(max_minutes=2), **SIZES)
    assert budget.progress(step=5, seconds=30) == 0.25
    assert not budget.finished(step=10**6, seconds=119.9)
    assert budget.finished(step=1, seconds=120.0)


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "found none"), ({"max_steps": 5, "max_minutes": 1}, "found --max_steps and --max_minutes")],
)
def test_two_budgets_or_none_are_refused(given, found):
    """The message names the four budgets and those that were given."""
    with pytest.raises(ConfigError, match=f"exactly one of --max_steps, .* --max_minutes, {found}; give one"):
        Budget.of(BudgetSettings(**given), **SIZES)


@pytest.mark.parametrize(
    "given", [{"max_steps": 0}, {"max_minutes": -1.0}, {"max_tokens": 0}, {"num_train_epochs": -2}]
)
def test_budgets_that_are_not_positive_are_refused(given):
    """Zero and negative budgets are told by name."""
    with pytest.raises(ConfigError, match=f"{next(iter(given))}: expected more than 0"):
        BudgetSettings(**given)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [0.0, 1.0, 0.5, 0.0]),
        ("cosine", [0.0, 1.0, 0.5, 0.0]),
        ("constant", [0.0, 1.0, 1.0, 1.0]),
        ("warmup_stable_decay", [0.0, 1.0, 1.0, 0.0]),
    ],
)
def test_schedules_by_progress(name, expected):
    """Each schedule rises to its peak in the warm-up and has its own shape after it."""
    settings = OptimizerSettings(lr_scheduler_type=name, warmup_steps=0.1, learning_rate=2.0)
    model = nn.Linear(4, 4)
    rate = LearningRate(build_optimizers(model, settings), settings, steps=None)
    factors = [rate.set(progress) / 2.0 for progress in (0.0, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx(expected, abs=1e-5)


def test_warmup_in_steps_is_a_share_of_the_budget():
    """10 warm-up steps of 100 reach the peak at a tenth of the run; without a number of steps they are refused."""
    settings = OptimizerSettings(warmup_steps=10)
    optimizers = build_optimizers(nn.Linear(4, 4), settings)
    assert LearningRate(optimizers, settings, steps=100).factor(0.05) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="warmup_steps: expected a fraction of the budget"):
        LearningRate(optimizers, settings, steps=None)


class _Tied(nn.Module, EmbeddingAccessMixin):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.hidden = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 10)
        self.head.weight = self.words.weight

    def get_input_embeddings(self):
        return self.words

    def get_output_embeddings(self):
        return self.head


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_trained_once_and_only_matrices_decay(optimizer):
    """Norms, biases and embeddings (tied heads too) are not decayed; Muon gets hidden matrices only."""
    model = _Tied()
    optimizers = build_optimizers(model, OptimizerSettings(optimizer=optimizer, weight_decay=0.5))
    groups = [group for one in optimizers for group in one.param_groups]
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(trained) == sorted(id(parameter) for parameter in model.parameters())
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    assert decayed == {id(model.hidden.weight)}
    muons = [one for one in optimizers if isinstance(one, torch.optim.Muon)]
    assert len(muons) == (optimizer == "muon")
    assert all(muon.param_groups[0]["params"] == [model.hidden.weight] for muon in muons)


@pytest.mark.parametrize("preset", ["gpt2-micro", "modernbert-decoder-micro", "bert-micro"])
def test_word_vectors_may_learn_at_a_rate_of_their_own(preset, bpe):
    """Word vectors and output matrix, tied or not, and nothing else: position vectors keep AdamW's."""
    model = micros.micro(preset, bpe)
    words = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    for optimizer in ("adamw", "muon"):
        settings = OptimizerSettings(optimizer=optimizer, embedding_learning_rate=0.5)
        adamw = build_optimizers(model, settings)[0]
        rates = {id(one): group["lr"] for group in adamw.param_groups for one in group["params"]}
        assert {one for one, rate in rates.items() if rate == 0.5} == words
        assert set(rates.values()) == {0.5, settings.learning_rate}


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 32), (32, 8), (16, 16)])
def test_muon_moves_gpts_turned_matrices_as_it_moves_linear_layers(inputs, outputs):
    """Conv1D holds [in, out]: with the turned gradient its update, decay included, is the linear layer's turned."""
    torch.manual_seed(0)
    linear, turned = nn.Linear(inputs, outputs, bias=False), Conv1D(outputs, inputs)
    turned.weight.data = linear.weight.data.T.clone()
    linear.weight.grad = torch.randn(outputs, inputs)
    turned.weight.grad = linear.weight.grad.T.clone()
    for layer in (linear, turned):
        _, muon = build_optimizers(nn.Sequential(layer, nn.LayerNorm(1)), OptimizerSettings(weight_decay=0.5))
        muon.step()
    torch.testing.assert_close(turned.weight.T, linear.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("embedding_learning_rate", -1.0),
        ("weight_decay", -1.0),
        ("adam_beta2", 1.0),
        ("decay_fraction", 0.0),
        ("max_grad_norm", -1),
    ],
)
def test_optimizer_settings_out_of_range_are_refused(name, value):
    """Each is told by its name with the value found."""
    with pytest.raises(ConfigError, match=f"{name}: expected .*, found {value}"):
        OptimizerSettings(**{name: value})
