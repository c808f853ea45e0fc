"""The end of a pretraining: the folder that others open, the proof that they can, and the result."""

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.card import Card
from hfrep.card.pretrained import pretrained_card
from hfrep.data.text import Text
from hfrep.evaluation.language_modeling import summary
from hfrep.export import export, prove_reload, reopening
from hfrep.training.loop import Outcome
from hfrep.training.record import read_metrics
from hfrep.training.run import Run


def publish(
    run: Run,
    outcome: Outcome,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    text: Text,
    *,
    examples: Sequence[str],
) -> None:
    """Export `model` with its card to the run's ``model`` folder, reopen it without hfrep, and finish the run.

    Args:
        examples: what it does with a few inputs, as text.

    Raises:
        ProofError: reopened, it is not the same.
    """
    folder = run.folder / "model"
    card = pretrained_card(
        run.description(),
        model,
        steps=outcome.step,
        minutes=outcome.seconds / 60,
        metrics=outcome.metrics,
        examples=examples,
    )
    export(model, tokenizer, folder, card)
    (opened,) = prove_reload([reopening(folder, card, model, tokenizer, text.validation).write()])
    run.tell(reloaded=str(opened))
    run.finish([*summary(outcome.metrics), *examples, f"model: {folder}"], outcome.metrics)


def card_on_the_way(folder: Path, model: PreTrainedModel, step: int) -> Card:
    """The card of `model` as it is after `step` steps of a pretraining that goes on in `folder`.

    Its scores are those of the last evaluation until then, if there has been one.
    """
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    evaluated = [record for record in read_metrics(folder) if record["step"] <= step and "eval_loss" in record]
    last = evaluated[-1] if evaluated else {}
    metrics = {name: value for name, value in last.items() if name.startswith("eval_")}
    return pretrained_card(run, model, steps=step, minutes=None, metrics=metrics, evaluated_at=last.get("step"))
