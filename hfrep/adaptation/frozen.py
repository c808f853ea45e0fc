"""The body stays as it is: it runs once for each example, its features stay on disk, and only a head trains on them.

With a pooling by name the head is linear on standardized features, as probes are (Alain and Bengio 2016); several
learning rates, and layers, train side by side. With ``class_head`` the stock class's own new modules are trained.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from hfrep.adaptation.base import Adaptation, Adapted, Candidate, CardFacts, Problem, one_by_one
from hfrep.adaptation.saved import CLASS_USAGE, adapted_card, open_body, probe_inputs, probed, sizes, text_ids
from hfrep.card import Base, Usage
from hfrep.card.files import write_card
from hfrep.data.examples import Examples
from hfrep.data.rows import Rows
from hfrep.export import Reopening, export, written_aside
from hfrep.fetching import HubName
from hfrep.models.classifier import Classifier
from hfrep.models.features import FeatureRows, chosen_layers, features_of, module_hash
from hfrep.objectives.class_head import ClassHead
from hfrep.objectives.linear_probe import Head, LinearProbe
from hfrep.objectives.supervised import Supervised

HEAD = "head.json"
IMPORTS = (
    "import json",
    "import torch",
    "from safetensors.torch import load_file",
    "from transformers import AutoModel, AutoTokenizer",
)
USAGE = """
folder = $folder
facts = json.load(open(f"{folder}/head.json"))
base = {name: facts[name] for name in ("revision", "subfolder")}
tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
body = AutoModel.from_pretrained(facts["backbone"], **base, dtype=torch.float32).eval()
head = load_file(f"{folder}/head.safetensors")


def model(attention_mask, **inputs):
    outputs = body(attention_mask=attention_mask, output_hidden_states=True, **inputs)
    states = [*outputs.hidden_states[:-1], outputs.last_hidden_state][facts["layer"]]
    mask = attention_mask[..., None]
    features = POOLED
    return features @ head["weight"].T + head["bias"]
"""
POOLED = {
    "cls": "states[:, 0]",
    "last": "states[torch.arange(len(states)), attention_mask.sum(1) - 1]",
    "mean": "(states * mask).sum(1) / mask.sum(1)",
    "max": 'states.masked_fill(mask == 0, float("-inf")).amax(1)',
}
BASE_RATE = 1e-3  # of the optimizer; heads multiply it


def backbone(place: HubName) -> dict[str, str | None]:
    """How ``head.json`` names the body: as `place`, or by the path of a folder that stands for a repository there."""
    return {"backbone": place.repository, "revision": place.revision, "subfolder": place.subfolder}


def groups(problem: Problem, learning_rates: Sequence[float]) -> list[list[Candidate]]:
    """All layers and learning rates side by side; a run for each learning rate where the class's own head trains."""
    if problem.features.pooling == "class_head":
        return one_by_one(problem, learning_rates)
    layers = chosen_layers(open_body(problem).model.config, problem.features.layer)
    return [[Candidate(rate, layer) for layer in layers for rate in learning_rates]]


def adapt(problem: Problem, train: Examples, candidates: Sequence[Candidate]) -> Adapted:
    torch.manual_seed(problem.seed)
    classifier = open_body(problem)
    classifier.model.to(problem.device)
    digest = module_hash(classifier.model, without=classifier.new)
    layers = sorted({candidate.layer for candidate in candidates if candidate.layer is not None})

    def rows(examples: Examples) -> FeatureRows:
        return features_of(
            classifier.model,
            examples,
            pooling=problem.features.pooling,
            layers=layers,
            cache=problem.cache,
            digest=digest,
            new=classifier.new,
        )

    if problem.features.pooling == "class_head":
        return _with_class_head(problem, classifier, rows, candidates)
    return _with_linear_heads(problem, classifier, rows, train, candidates, layers)


def _with_class_head(
    problem: Problem, classifier: Classifier, rows: Callable[[Examples], Rows], candidates: Sequence[Candidate]
) -> Adapted:
    (candidate,) = candidates
    model, regression = classifier.model, problem.task.labels is None

    def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
        card = adapted_card(problem, "frozen", [CLASS_USAGE], facts)
        export(model, problem.tokenizer, folder, card)
        return probed(folder, card, Supervised(model, regression=regression), problem.tokenizer, facts)

    objective = ClassHead(classifier, regression=regression)
    trained, whole = sizes(model)
    return Adapted(objective, rows, candidate.learning_rate, trained, whole, save)


def _with_linear_heads(
    problem: Problem,
    classifier: Classifier,
    rows: Callable[[Examples], Rows],
    train: Examples,
    candidates: Sequence[Candidate],
    layers: Sequence[int],
) -> Adapted:
    features = rows(train).take(np.arange(len(train)))["features"]
    objective = LinearProbe(
        [Head(layers.index(candidate.layer or 0), candidate.learning_rate) for candidate in candidates],
        base_rate=BASE_RATE,
        mean=features.mean(0),
        deviation=features.std(0),
        outputs=problem.task.outputs,
        regression=problem.task.labels is None,
        center=float(train.targets.mean()) if problem.task.labels is None else 0.0,
    )
    body = sum(parameter.numel() for parameter in classifier.model.base_model.parameters())
    trained = (features.shape[-1] + 1) * problem.task.outputs

    def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
        layer = candidates[number].layer
        usage = Usage(IMPORTS, USAGE.replace("POOLED", POOLED[problem.features.pooling]))
        card = adapted_card(problem, "frozen", [usage], facts, library="hfrep")  # no class of transformers opens it
        weight, bias = objective.folded(number)
        described = {
            **backbone(Base.named(problem.model).place),
            "backbone_digest": module_hash(classifier.model, without=classifier.new),
            "pooling": problem.features.pooling,
            "layer": layer,
            "labels": problem.task.labels,
        }
        with written_aside(folder) as aside:
            save_file({"weight": weight.cpu(), "bias": bias.cpu()}, aside / "head.safetensors")
            (aside / HEAD).write_text(json.dumps(described, indent=1) + "\n")
            problem.tokenizer.save_pretrained(aside)
            write_card(card, aside)
        inputs = probe_inputs(facts)
        vectors = rows(facts.probe).take(np.arange(len(inputs["input_ids"])))["features"]
        objective.eval()
        with torch.inference_mode():
            logits = objective.logits({"features": torch.from_numpy(vectors).to(weight.device)})[:, number]
        ids = text_ids(problem.tokenizer, facts)
        return Reopening(folder, card.snippets(), inputs, logits.float().cpu().numpy(), facts.text, ids)

    return Adapted(objective, rows, BASE_RATE, trained, body + trained, save)


FROZEN = Adaptation(adapt, groups, learning_rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), epochs=10, folder="head")
