"""A small part is trained beside frozen weights: LoRA (Hu et al. 2021), or any other method of peft."""

from collections.abc import Sequence
from pathlib import Path

import torch

from hfrep.adaptation.adapters import add_adapter, save_adapter
from hfrep.adaptation.base import Adaptation, Adapted, Candidate, CardFacts, Problem, one_by_one
from hfrep.adaptation.saved import adapted_card, open_body, probed, sizes
from hfrep.card import Base, Usage
from hfrep.data.examples import Examples
from hfrep.export import Reopening
from hfrep.fetching import HubName
from hfrep.models.named import stored_pad
from hfrep.objectives.supervised import Supervised

BY_NAME = """
tokenizer = AutoTokenizer.from_pretrained($here)
model = AutoPeftModelForSequenceClassification.from_pretrained(
    $whole,
    ARGUMENTS
)
"""
ON_A_BASE = """
tokenizer = AutoTokenizer.from_pretrained($here)
base = AutoModelForSequenceClassification.from_pretrained(
    $base,
    ARGUMENTS
)
model = PeftModel.from_pretrained(base, $here)
"""


def usages(outputs: int, pad: int | None, base: HubName) -> list[Usage]:
    """Ways to open an adapter whose head has so many `outputs`.

    Args:
        pad: id of the pad token, where the base is to be told of it.
        base: where it stands; peft finds a base by itself at the root of a repository only, or in a folder.
    """
    given = f"num_labels={outputs}, dtype=torch.float32{'' if pad is None else f', pad_token_id={pad}'},"
    by_name = Usage(
        [
            "import torch",
            "from peft import AutoPeftModelForSequenceClassification",
            "from transformers import AutoTokenizer",
        ],
        BY_NAME.replace("ARGUMENTS", given),
    )
    on_a_base = Usage(
        [
            "import torch",
            "from peft import PeftModel",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        ],
        ON_A_BASE.replace("ARGUMENTS", given),
        note="On a base model that is opened by itself:",
    )
    return [on_a_base] if base.subfolder else [by_name, on_a_base]


def adapt(problem: Problem, train: Examples, candidates: Sequence[Candidate]) -> Adapted:
    (candidate,) = candidates
    torch.manual_seed(problem.seed)
    model = add_adapter(open_body(problem), problem.adapters, base=problem.model)
    objective = Supervised(model, regression=problem.task.labels is None)

    def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
        # A base that was made for text alone may know of no padding, or of another: the class finds a text's end by it.
        pad = None if stored_pad(problem.model) == train.pad else train.pad
        opened = usages(problem.task.outputs, pad, Base.named(problem.model).place)
        card = adapted_card(problem, "lora", opened, facts, library="peft")
        save_adapter(model, problem.tokenizer, folder, labels=problem.task.labels, card=card)
        return probed(folder, card, objective, problem.tokenizer, facts)

    trained, whole = sizes(model)
    return Adapted(objective, lambda examples: examples, candidate.learning_rate, trained, whole, save)


LORA = Adaptation(adapt, one_by_one, learning_rates=(1e-3,), epochs=3, folder="adapter")
