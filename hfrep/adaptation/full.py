"""All weights are trained, as in BERT's fine-tuning (Devlin et al. 2019, section 4.1)."""

from collections.abc import Sequence
from pathlib import Path

import torch

from hfrep.adaptation.base import Adaptation, Adapted, Candidate, CardFacts, Problem, one_by_one
from hfrep.adaptation.saved import CLASS_USAGE, adapted_card, open_body, probed, sizes
from hfrep.data.examples import Examples
from hfrep.export import Reopening, export
from hfrep.objectives.supervised import Supervised


def adapt(problem: Problem, train: Examples, candidates: Sequence[Candidate]) -> Adapted:
    (candidate,) = candidates
    torch.manual_seed(problem.seed)
    model = open_body(problem).model
    objective = Supervised(model, regression=problem.task.labels is None)

    def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
        card = adapted_card(problem, "full", [CLASS_USAGE], facts)
        export(model, problem.tokenizer, folder, card)
        return probed(folder, card, objective, problem.tokenizer, facts)

    trained, whole = sizes(model)
    return Adapted(objective, lambda examples: examples, candidate.learning_rate, trained, whole, save)


FULL = Adaptation(adapt, one_by_one, learning_rates=(1e-4,), epochs=3, folder="model")
