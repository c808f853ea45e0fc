"""A small part is trained beside frozen weights: LoRA (Hu et al. 2021), or any other method of peft."""

from collections.abc import Sequence
from pathlib import Path

import torch

from hfrep.adaptation.adapters import add_adapter, save_adapter
from hfrep.adaptation.base import Adaptation, Adapted, Candidate, CardFacts, Problem, one_by_one
from hfrep.adaptation.saved import adapted_card, base_name, open_body, probed, sizes
from hfrep.data.examples import Examples
from hfrep.export import Reopening
from hfrep.models.stored import stored_pad
from hfrep.objectives.supervised import Supervised

USAGE = """
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoPeftModelForSequenceClassification.from_pretrained(
    ".", num_labels={outputs}, dtype=torch.float32{pad}
)
"""


def adapt(problem: Problem, train: Examples, candidates: Sequence[Candidate]) -> Adapted:
    (candidate,) = candidates
    torch.manual_seed(problem.seed)
    model = add_adapter(open_body(problem), problem.adapters, base=base_name(problem.model))
    objective = Supervised(model, regression=problem.task.labels is None)

    def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
        # A base that was made for text alone may know of no padding, or of another: the class finds a text's end by it.
        pad = "" if stored_pad(problem.model) == train.pad else f", pad_token_id={train.pad}"
        usage = USAGE.format(outputs=problem.task.outputs, pad=pad)
        card = adapted_card(problem, "lora", usage, facts, "peft")
        save_adapter(model, problem.tokenizer, folder, labels=problem.task.labels, card=str(card))
        return probed(folder, usage, objective, problem.tokenizer, facts)

    trained, whole = sizes(model)
    return Adapted(objective, lambda examples: examples, candidate.learning_rate, trained, whole, save)


LORA = Adaptation(adapt, one_by_one, learning_rates=(1e-3,), epochs=3, folder="adapter")
