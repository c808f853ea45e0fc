"""What all adaptations save alike: a card, and the probe that a fresh process is compared on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from hfrep.adaptation.base import CardFacts, Problem
from hfrep.card import Base, Card, Usage
from hfrep.card.private import without_paths
from hfrep.export import Reopening
from hfrep.models.classifier import Classifier, open_classifier, require_text_body
from hfrep.objectives.supervised import Supervised

PROBE_ROWS = 4
CLASS_USAGE = Usage(
    ["from transformers import AutoModelForSequenceClassification, AutoTokenizer"],
    """
tokenizer = AutoTokenizer.from_pretrained($here)
model = AutoModelForSequenceClassification.from_pretrained($here)
""",
)


def open_body(problem: Problem) -> Classifier:
    """The pretrained body of `problem`, or a fresh one of its shape, with a new head."""
    classifier = open_classifier(
        problem.model,
        labels=problem.task.labels,
        pad_token_id=problem.tokenizer.pad_token_id,
        dropout=problem.dropout,
        random_weights=problem.random_weights,
    )
    require_text_body(classifier.model, problem.tokenizer, problem.model)
    return classifier


def sizes(model: nn.Module) -> tuple[int, int]:
    """How many numbers of `model` are trained, and how many it has."""
    numbers = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(number for number, trained in numbers if trained), sum(number for number, _ in numbers)


def adapted_card(
    problem: Problem, name: str, usages: Sequence[Usage], facts: CardFacts, *, library: str = "transformers"
) -> Card:
    """The card of a model that was adapted to a task; `name` is the adaptation's, `library` what opens it."""
    task = problem.task
    labels = "one number" if task.labels is None else ", ".join(f"{n} = {label}" for n, label in enumerate(task.labels))
    return Card(
        title=f"{task.title}, {name}",
        summary=f"Predicts {labels} for {' and '.join(task.text_columns)} (adaptation: {name}).",
        library_name=library,
        pipeline_tag="text-classification",
        tags=["hfrep", name, task.name],
        usages=usages,
        datasets=[facts.dataset] if facts.dataset else [],
        base=Base.named(problem.model),
        training=without_paths(dict(facts.training)),
        evaluations=facts.evaluations,
        limits="It was judged on the task's own examples only; it has not been checked for bias.",
    )


def probed(
    folder: Path, card: Card, objective: Supervised, tokenizer: PreTrainedTokenizerFast, facts: CardFacts
) -> Reopening:
    """What `objective` computes for a few examples."""
    inputs = probe_inputs(facts)
    objective.eval()
    device = next(objective.parameters()).device
    with torch.inference_mode():
        logits = objective.logits({name: torch.from_numpy(part).to(device) for name, part in inputs.items()})
    numbers = logits[:, 0].float().cpu().numpy()
    return Reopening(folder, card.snippets(), inputs, numbers, facts.text, text_ids(tokenizer, facts))


def probe_inputs(facts: CardFacts) -> dict[str, NDArray[Any]]:
    """Arguments of a forward pass over the first examples of the probe."""
    taken = facts.probe.take(np.arange(min(PROBE_ROWS, len(facts.probe))))
    return {name: part for name, part in taken.items() if name != "targets"}


def text_ids(tokenizer: PreTrainedTokenizerFast, facts: CardFacts) -> list[int]:
    ids: list[int] = tokenizer(*facts.text)["input_ids"]
    return ids
