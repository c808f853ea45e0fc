"""The card of a language model trained from raw text, at the end of its run or at a checkpoint of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from hfrep.card.facts import Base, Card, Evaluation
from hfrep.card.private import without_paths
from hfrep.card.usage import Usage
from hfrep.data.corpus import on_hub
from hfrep.data.hub_corpus import DatasetName
from hfrep.models.isolation import is_causal

LIMITS = "It knows what its corpus says and how it says it; it has not been checked for bias or for truth."
KINDS = {  # by whether the model sees the past only: auto class, pipeline, tag, and what it is in words
    False: ("AutoModelForMaskedLM", "fill-mask", "masked-language-modeling", "A masked language model"),
    True: ("AutoModelForCausalLM", "text-generation", "causal-language-modeling", "A causal language model"),
}


def pretrained_card(
    run: Mapping[str, Any],
    model: PreTrainedModel,
    *,
    steps: int,
    minutes: float | None,
    metrics: Mapping[str, float],
    examples: Sequence[str] = (),
    evaluated_at: int | None = None,
) -> Card:
    """The card of `model`.

    Args:
        run: what ``run.json`` tells.
        steps: of the optimizer that it has been trained for.
        minutes: of training; None where they are not known.
        metrics: of the last evaluation; empty where there was none.
        examples: what it does with a few inputs, as text.
        evaluated_at: step of the evaluation, where it was not the last one.
    """
    settings = run["settings"]
    auto_class, pipeline_tag, tag, kind = KINDS[is_causal(model.config.model_type, model.config)]
    corpora = ", ".join(settings["corpus"])
    base = settings["model_name_or_path"]
    return Card(
        title=without_paths(f"{settings['model'] or base}, pretrained"),
        summary=without_paths(f"{kind} trained with hfrep on {corpora}."),
        library_name="transformers",
        pipeline_tag=pipeline_tag,
        tags=["hfrep", tag, model.config.model_type],
        usages=[_usage(auto_class)],
        datasets=list(dict.fromkeys(_datasets(settings))),
        base=None if base is None else Base.named(base),
        training=without_paths(dict(_training(run, steps, minutes))),
        evaluations=[_evaluation(settings, metrics, evaluated_at or steps)] if metrics else [],
        proofs=[run["proved"]] if "proved" in run else [],
        examples=examples,
        limits=LIMITS,
    )


def _datasets(settings: Mapping[str, Any]) -> Iterator[str]:
    """What was read of the Hub: corpora, and prepared blocks of them."""
    for name in settings["corpus"]:
        if on_hub(name):
            yield DatasetName.parse(name).repository
    if settings.get("blocks") and not Path(settings["blocks"]).is_dir():
        yield DatasetName.parse(settings["blocks"]).repository


def _usage(auto_class: str) -> Usage:
    code = f"tokenizer = AutoTokenizer.from_pretrained($here)\nmodel = {auto_class}.from_pretrained($here)"
    return Usage([f"from transformers import {auto_class}, AutoTokenizer"], code)


def _training(run: Mapping[str, Any], steps: int, minutes: float | None) -> Iterator[tuple[str, Any]]:
    settings = run["settings"]
    rows, length = settings["train_batch_size"], settings["sequence_length"]
    yield "model", str(run["model"])
    yield "text", str(run["text"])
    yield "tokens", steps * rows * length
    yield "steps", steps
    yield "rows a step", f"{rows} of {length} tokens"
    if minutes is not None:
        yield "minutes", minutes
    yield "hardware", run["device"]
    yield "budget", run["budget"]
    yield "optimizer", f"{settings['optimizer']}, learning rate {settings['learning_rate']:g}"
    yield "seed", settings["seed"]
    yield "versions", ", ".join(f"{name} {run['versions'][name]}" for name in ("hfrep", "torch", "transformers"))


def _evaluation(settings: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> Evaluation:
    given = settings["validation_corpus"]
    names = given or settings["corpus"]
    dataset = names[0].partition("@")[0] if len(names) == 1 and on_hub(names[0]) else None
    return Evaluation(
        data=without_paths(", ".join(names)),
        scores={name.removeprefix("eval_"): float(value) for name, value in metrics.items()},
        how=f"after step {step:,}, {_protocol(settings)}",
        dataset=dataset,
        split="" if given else "train" if dataset else "held out",
    )


def _protocol(settings: Mapping[str, Any]) -> str:
    held_out = f" of documents held out by a hash of their text ({settings['validation_fraction']:.2%})"
    rows = (
        f"on at most {settings['max_eval_samples']:,} rows of {settings['sequence_length']} tokens"
        f"{'' if settings['validation_corpus'] else held_out}, the same at every evaluation"
    )
    if "eval_mlm_probability" in settings:
        predicted = (
            f"predicted are {settings['eval_mlm_probability']:.0%} of the tokens, chosen by {settings['masking']}"
        )
    else:
        predicted = "each token is predicted from those before it in its document"
    return f"{rows}; {predicted}; means are over all predicted tokens"
