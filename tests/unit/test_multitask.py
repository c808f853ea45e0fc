"""Several tasks on one body: rows and loss are those of the tasks one by one, and each ends as a stock model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from micros import MICROS, micro
from tasks_on_disk import write_model, write_task
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import FeatureSettings, FineTuningSettings, Problem
from hfrep.adaptation.fit import Fitter, TrainingSettings
from hfrep.adaptation.multitask import MultitaskSettings, MultitaskStudy, drawing_weights
from hfrep.adaptation.study import ProtocolSettings, Row, TaskStudy
from hfrep.data.examples import encode
from hfrep.data.task_examples import laid_together
from hfrep.errors import ConfigError
from hfrep.export import prove_reload, unproved
from hfrep.objectives.multitask import Multitask
from hfrep.objectives.supervised import Supervised
from hfrep.tasks.reading import open_task
from hfrep.tasks.settings import TaskSettings
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
OUTPUTS = (3, 1, 2)
TASK = torch.tensor([0, 1, 0, 1, 1, 0])  # none of the last one


@pytest.fixture
def objective():
    torch.manual_seed(0)
    models = (BertForSequenceClassification(BertConfig(**TINY, num_labels=outputs)) for outputs in OUTPUTS)
    return Multitask(models, regressions=[outputs == 1 for outputs in OUTPUTS]).eval()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids = torch.randint(5, 50, (6, 9))
    mask = (torch.arange(9) < torch.randint(3, 10, (6, 1))).long()
    targets = torch.tensor([2, 0.5, 0, 4.25, -1, 1])
    return {"input_ids": ids, "attention_mask": mask, "task": TASK, "targets": targets, "counted": torch.tensor(1.0)}


def gradients(objective):
    found = {name: weight.grad.clone() for name, weight in objective.named_parameters()}
    objective.zero_grad(set_to_none=True)
    return found


def test_the_body_is_one_set_of_weights(objective):
    """Every model of the batch runs the same module, whose parameters are counted and trained once."""
    bodies = [predictor.kept.bert for predictor in objective.tasks]
    assert all(body is bodies[0] for body in bodies)
    heads = sum((TINY["hidden_size"] + 1) * outputs for outputs in OUTPUTS)
    body = sum(weight.numel() for weight in bodies[0].parameters())
    assert sum(weight.numel() for weight in objective.parameters()) == body + heads


@pytest.mark.parametrize("name", MICROS)
def test_every_stock_class_runs_on_the_shared_body(name, wordpiece):
    """With zeros in the body of the first model, the second one tells no text from another."""
    config = micro(name, wordpiece).config
    config.pad_token_id = wordpiece.pad_token_id
    models = [AutoModelForSequenceClassification.from_config(config) for _ in range(2)]
    objective = Multitask(models, regressions=[False, False]).eval()
    ids = torch.arange(5, 13)[None].expand(2, -1)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "task": torch.tensor([0, 1])}
    assert objective.logits(batch)[1].any()
    with torch.no_grad():
        for weight in models[0].base_model.parameters():
            weight.zero_()
        bare = [models[1](ids[:1]).logits, objective.logits(batch)[1]]
        other = models[1](ids[:1] + 7).logits
    assert torch.allclose(bare[0], bare[1], atol=1e-6)
    assert torch.allclose(bare[0], other, atol=1e-6)


def test_a_mixed_batch_has_the_gradient_of_its_examples_one_by_one(objective, batch):
    """Sum and gradient are those of the stock losses of single examples, added up; their number is the count."""
    assert objective.counts(batch) == {"supervised": 6}
    total = objective(batch)["supervised"]
    (total / 6).backward()
    ours = gradients(objective)
    theirs = 0.0
    for row, task in enumerate(TASK.tolist()):
        target = batch["targets"][row : row + 1]
        labels = target if OUTPUTS[task] == 1 else target.long()
        model = objective.tasks[task].kept
        loss = model(batch["input_ids"][row, None], batch["attention_mask"][row, None], labels=labels).loss
        (loss / 6).backward()
        theirs += loss.item()
    assert total.item() == pytest.approx(theirs, rel=1e-5)
    unseen = [name for name, weight in objective.named_parameters() if weight.grad is None]
    assert unseen == ["kept.2.kept.classifier.weight", "kept.2.kept.classifier.bias"]
    for name, weight in objective.named_parameters():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        assert torch.allclose(ours[name], expected, atol=1e-6), name


def test_each_example_is_predicted_by_its_own_model(objective, batch):
    """Logits are those of the stock model of an example's task; what it has no output for is 0."""
    logits = objective.logits(batch)
    assert logits.shape == (6, 1, 3)
    for row, task in enumerate(TASK.tolist()):
        alone = objective.tasks[task].kept(batch["input_ids"][row, None], batch["attention_mask"][row, None]).logits[0]
        assert torch.allclose(logits[row, 0, : OUTPUTS[task]], alone, atol=1e-6)
        assert not logits[row, 0, OUTPUTS[task] :].any()


@pytest.fixture
def parts(wordpiece):
    labels, values = np.array([1, 0]), np.array([0.5, 4.25, -1], np.float32)
    pairs = (["the river", "a garden window opens", "it"], ["boat", "the house often", "never"])
    made = [
        encode(wordpiece, (["the small house", "a red boat near the old green river"],), labels, max_length=32),
        encode(wordpiece, pairs, values, max_length=32),
    ]
    draw = np.random.default_rng(0)
    return {
        number: replace(part, types=draw.integers(2, size=len(part.ids), dtype=np.uint8))
        for number, part in enumerate(made)
    }


def test_rows_of_several_tasks_are_those_of_each(parts):
    """Numbered through, they are the rows of their task, padded to the longest, with its number."""
    together = laid_together(parts)
    assert together.lengths.tolist() == [*parts[0].lengths, *parts[1].lengths]
    taken = together.take(np.array([4, 1, 2]))
    assert taken["task"].tolist() == [1, 0, 1]
    assert taken["targets"].tolist() == [-1, 0, 0.5]
    for place, (number, row) in enumerate([(1, 2), (0, 1), (1, 0)]):
        alone = parts[number].take(np.array([row]))
        length = alone["input_ids"].shape[1]
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            assert np.array_equal(taken[name][place, :length], alone[name][0]), name
        assert not taken["attention_mask"][place, length:].any()


def test_the_fingerprint_tells_weights_and_tasks(parts):
    """Other weights, and the same examples as another task, are another data set to train on."""
    sets = [laid_together(parts), laid_together(parts, [1, 2]), laid_together({0: parts[1], 1: parts[0]})]
    assert len({one.fingerprint for one in sets}) == 3
    assert laid_together(parts, [1, 2]).fingerprint == sets[1].fingerprint


def test_tasks_come_in_shares_of_their_weights(parts):
    """Of 1,024 positions each task has its quota; without weights each row comes once a pass."""
    _, rows = laid_together(parts, [3, 1]).order(0)(np.arange(1024))
    assert [int((rows < 2).sum()), int((rows >= 2).sum())] == [768, 256]
    _, rows = laid_together(parts).order(0)(np.arange(5))
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


def test_weights_are_sizes_to_a_power():
    """With 1 by size, with 0 alike, in between by their root."""
    assert drawing_weights({"a": 100, "b": 900}, 0.5) == pytest.approx((0.25, 0.75))
    assert drawing_weights({"a": 100, "b": 900}, 1) == pytest.approx((0.1, 0.9))
    assert drawing_weights({"a": 100, "b": 900}, 0) == pytest.approx((0.5, 0.5))
    with pytest.raises(
        ConfigError,
        match=r"--multitask_power 1: expected a share of at least 1/1024 for each task, found 1/1,901 for b; lower it",
    ):
        drawing_weights({"a": 950_000, "b": 500}, 1)


def test_a_power_is_a_share():
    """Below 0 the small tasks would come more often than the large ones."""
    with pytest.raises(ConfigError, match=r"--multitask_power: expected a number from 0 to 1, found -0\.5; give 0\.5"):
        MultitaskSettings(multitask_power=-0.5)


@pytest.fixture(scope="module")
def given(wordpiece, tmp_path_factory):
    """A pretrained model, and a task of classes and one of numbers."""
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model", wordpiece)
    write_task(folder / "data" / "garden")
    write_task(folder / "data" / "count", rows=(48, 24), regression=True)
    return folder


def study(given, tokenizer, output, names=("garden", "count"), patience=None, **protocol):
    """The tasks `names` together, with three steps of training."""
    training = TrainingSettings(
        LoopSettings(eval_steps=None if patience is None else 1),
        BudgetSettings(max_steps=3),
        FineTuningSettings(),
        CheckpointSettings(),
        RecordSettings(),
        patience,
    )
    settings = TaskSettings(task=list(names), data=str(given / "data"))
    fitter = Fitter(Accelerator(cpu=True, step_scheduler_with_optimizer=False), training)
    asked = ProtocolSettings(**{"adaptation": ["full"], "early_stopping_patience": patience} | protocol)
    model = {"model": str(given / "model"), "tokenizer": tokenizer, "cache": output / "cache", "dropout": None}
    more = {"features": FeatureSettings(), "adapters": AdapterSettings()}
    studies = [
        TaskStudy(
            data,
            Problem(task=data.task, device=torch.device("cpu"), **model, **more),
            fitter,
            asked,
            length=48,
            folder=output,
        )
        for data in (open_task(name, settings) for name in names)
    ]
    return MultitaskStudy(studies, 0.5, output)


def test_two_tasks_end_to_end(given, wordpiece, tmp_path, monkeypatch):
    """Each gets its scores and a stock model that opens in a fresh process; a second time nothing is trained."""
    asked = {"seeds": [0, 1], "learning_rates": [1e-3, 1e-2]}
    together = study(given, wordpiece, tmp_path / "run", **asked)
    assert list(map(str, together.rows)) == ["multitask", "multitask, random weights"]
    judged = together.judge(Row("multitask", False))
    assert [(one.cell.task, one.cell.row) for one in judged] == [("garden", "multitask"), ("count", "multitask")]
    assert [one.cell.scores.metrics for one in judged] == [("accuracy",), ("pearson", "spearman")]
    assert all(one.cell.scores.seeds == 2 for one in judged)
    assert judged[0].cell.note.endswith(", one training for 2 tasks by size^0.5")
    assert len(list((tmp_path / "run").rglob("search/*/logits.npz"))) == 2

    models = [
        tmp_path / "run" / name / "multitask" / f"seed-{n}" / "model" for n in (0, 1) for name in ("count", "garden")
    ]
    opened = prove_reload(unproved(tmp_path / "run"))
    assert {one.folder for one in opened} == set(models)
    assert all(one.name == "BertForSequenceClassification" for one in opened)
    assert "| trained together with | count |" in (models[1] / "README.md").read_text()
    config = json.loads((models[1] / "config.json").read_text())
    assert config["id2label"] == {"0": "garden", "1": "house"}

    monkeypatch.setattr("hfrep.training.run.Training", None)
    again = study(given, wordpiece, tmp_path / "run", **asked).judge(Row("multitask", False))
    for one, other in zip(judged, again, strict=True):
        assert np.array_equal(one.cell.scores.by_seed, other.cell.scores.by_seed)


def test_saved_models_give_the_predictions_that_were_scored(given, wordpiece, tmp_path):
    """Opened by the stock class, each task's model gives the logits that the training wrote down, on one body."""
    together = study(given, wordpiece, tmp_path / "run")
    together.judge(Row("multitask", False))
    stored = np.load(tmp_path / "run/multitask/seed-0/logits.npz")
    bodies = []
    for one in together.studies:
        name, outputs = one.data.task.name, one.data.task.outputs
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / name / "multitask/seed-0/model")
        examples = one.judged["validation"]
        taken = {key: torch.from_numpy(part) for key, part in examples.take(np.arange(len(examples))).items()}
        with torch.no_grad():
            logits = Supervised(model.eval(), regression=outputs == 1).logits(taken)
        written = stored[f"logits_{name} validation"][..., :outputs]
        assert np.allclose(logits.numpy(), written, atol=1e-5)
        bodies.append(model.bert.state_dict())
    assert all(torch.equal(bodies[0][name], bodies[1][name]) for name in bodies[0])


def test_random_weights_and_early_stopping(given, wordpiece, tmp_path):
    """Random weights save no model; trainings can stop on the mean of the held-out scores."""
    together = study(given, wordpiece, tmp_path / "run", patience=1)
    judged = together.judge(Row("multitask", True))
    assert [one.cell.row for one in judged] == ["multitask, random weights"] * 2
    records = (tmp_path / "run/multitask-random/seed-0/metrics.jsonl").read_text()
    assert "eval_score" in records
    assert not list((tmp_path / "run").rglob("model"))


def test_the_search_reads_no_reported_split(given, wordpiece, tmp_path, monkeypatch):
    """Learning rates are chosen with no access to what is reported."""
    together = study(given, wordpiece, tmp_path / "run", learning_rates=[1e-3, 1e-2])
    monkeypatch.setattr(TaskStudy, "judged", property(lambda self: pytest.fail("a reported split was read")))
    assert together._choose(Row("multitask", False)).learning_rate in (1e-3, 1e-2)


@pytest.mark.parametrize("adaptation", ["frozen", "lora"])
def test_only_all_weights_are_shared(given, wordpiece, tmp_path, adaptation):
    """Tasks share a body that is trained."""
    with pytest.raises(
        ConfigError,
        match=f"expected full among --adaptation, since all weights are trained, found {adaptation}; add full, or",
    ):
        study(given, wordpiece, tmp_path, adaptation=[adaptation])


def test_one_task_is_not_several(given, wordpiece, tmp_path):
    """There is nothing to share."""
    with pytest.raises(ConfigError, match="--multitask: expected two tasks or more, found garden; name more in --task"):
        study(given, wordpiece, tmp_path, names=("garden",))
