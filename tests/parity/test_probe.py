"""A frozen body's head against scikit-learn's logistic regression, and the body against itself."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tasks_on_disk import write_model, write_task

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import Candidate, FeatureSettings, FineTuningSettings, Problem
from hfrep.adaptation.fit import Fitter, TrainingSettings
from hfrep.data.examples import encode
from hfrep.models.classifier import open_classifier
from hfrep.models.features import features_of, module_hash
from hfrep.tasks.reading import TaskSettings, open_task
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    task = write_task(tmp_path_factory.mktemp("task"), rows=(400, 200))
    files = {"train_file": str(task / "train.jsonl"), "validation_file": str(task / "validation.jsonl")}
    return open_task("garden", TaskSettings(task=["garden"], **files))


def problem_of(data, wordpiece, folder, **features):
    return Problem(
        model=str(write_model(folder / "model", wordpiece)),
        task=data.task,
        tokenizer=wordpiece,
        features=FeatureSettings(**features),
        adapters=AdapterSettings(),
        dropout=None,
        cache=folder,
        device=torch.device("cpu"),
    )


def fitted(problem, data, name, candidates, folder, **budget):
    """The logits of the validation split, and the examples."""
    settings = TrainingSettings(
        LoopSettings(train_batch_size=64),
        BudgetSettings(**budget),
        FineTuningSettings(),
        CheckpointSettings(),
        RecordSettings(),
    )
    examples = {
        split: encode(problem.tokenizer, data.splits[split].texts, data.splits[split].targets, max_length=64)
        for split in ("train", "validation")
    }
    kept = []
    fit = Fitter(Accelerator(cpu=True), settings).fit(
        problem,
        ADAPTATIONS[name],
        candidates,
        examples["train"],
        {"validation": examples["validation"]},
        Path(folder),
        save=lambda adapted, fit: kept.append(adapted),
    )
    return fit.logits["validation"], examples, kept[0]


def test_frozen_scores_are_those_of_a_logistic_regression(data, wordpiece, tmp_path):
    """Trained long enough, the linear head predicts what scikit-learn's does on the same standardized features."""
    problem = problem_of(data, wordpiece, tmp_path)
    logits, examples, _ = fitted(problem, data, "frozen", [Candidate(3e-2, 2)], tmp_path / "run", num_train_epochs=200)
    ours = logits[:, 0].argmax(-1)
    body = open_classifier(problem.model, labels=data.task.labels, pad_token_id=0).model
    made = {
        split: features_of(
            body, part, pooling="mean", layers=(2,), cache=tmp_path, digest=module_hash(body.base_model)
        ).features[:, 0]
        for split, part in examples.items()
    }
    scaler = StandardScaler().fit(made["train"])
    theirs = LogisticRegression(C=1e4, max_iter=5000).fit(scaler.transform(made["train"]), examples["train"].targets)
    predicted = theirs.predict(scaler.transform(made["validation"]))
    truth = examples["validation"].targets
    assert (predicted == truth).mean() > 0.8, "there is something to learn"
    assert (ours == predicted).mean() >= 0.97
    assert abs((ours == truth).mean() - (predicted == truth).mean()) <= 0.02


@pytest.mark.parametrize("pooling", ["mean", "class_head"])
def test_the_body_stays_as_it_is(data, wordpiece, tmp_path, pooling):
    """After training a head, every weight of the body is bit-equal to the checkpoint's."""
    problem = problem_of(data, wordpiece, tmp_path, pooling=pooling)
    before = open_classifier(problem.model, labels=data.task.labels, pad_token_id=0)
    candidate = Candidate(1e-2) if pooling == "class_head" else Candidate(1e-2, 2)
    _, _, adapted = fitted(problem, data, "frozen", [candidate], tmp_path / "run", max_steps=3)
    if pooling == "mean":
        assert {name.split(".")[0] for name, _ in adapted.objective.named_parameters()} == {"kept"}
        assert adapted.objective.kept["weight"].abs().sum() > 0
        return
    after = adapted.objective.kept.state_dict()
    changed = {key for key, weight in before.model.state_dict().items() if not torch.equal(weight, after[key])}
    assert {key.rpartition(".")[0] for key in changed} >= {"classifier"}
    assert all(key.startswith(before.new) for key in changed)


def test_the_reported_split_is_read_by_the_last_training_only(data, wordpiece, tmp_path):
    """While settings are chosen, nothing asks for the split that will be reported; the final training predicts it."""
    from hfrep.adaptation.study import ProtocolSettings, Row, TaskStudy

    read = []

    class Watched(dict):
        def __getitem__(self, split):
            read.append(split)
            return super().__getitem__(split)

    watched = type(data)(data.task, Watched(data.splits), data.notes, data.fingerprint)
    problem = problem_of(data, wordpiece, tmp_path)
    settings = TrainingSettings(
        LoopSettings(), BudgetSettings(max_steps=2), FineTuningSettings(), CheckpointSettings(), RecordSettings()
    )
    trained = []

    class Watching(Fitter):
        def fit(self, problem, adaptation, candidates, train, judged, folder, *more):
            trained.append((folder.parts[-2], sorted(judged), "validation" in read))
            return super().fit(problem, adaptation, candidates, train, judged, folder, *more)

    study = TaskStudy(
        watched,
        problem,
        Watching(Accelerator(cpu=True), settings),
        ProtocolSettings(learning_rates=[1e-3, 1e-2]),
        length=64,
        folder=tmp_path / "runs",
    )
    study.judge(Row("full", random_weights=False))
    assert trained == [
        ("search", ["held_out"], False),
        ("search", ["held_out"], False),
        ("full", ["validation"], True),
    ]
