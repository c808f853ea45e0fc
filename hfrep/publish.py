"""The end of a pretraining: the folder that others open, the proof that they can, and the result."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.card import pretrained_card
from hfrep.data.text import Text
from hfrep.evaluation.language_modeling import summary
from hfrep.export import export, prove_reload, reopening
from hfrep.training.loop import Outcome
from hfrep.training.run import Run


def publish(
    run: Run,
    outcome: Outcome,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    text: Text,
    *,
    name: str,
    auto_class: Any,
    pipeline_tag: str,
    examples: Sequence[str],
) -> None:
    """Export `model` with its card to the run's ``model`` folder, reopen it without hfrep, and finish the run.

    Args:
        name: of the model, for the card.
        auto_class, pipeline_tag: what opens it, and what the Hub shows it as.
        examples: what it does with a few inputs, as text.

    Raises:
        ProofError: reopened, it is not the same.
    """
    folder = run.folder / "model"

    card = pretrained_card(
        name=f"{name}, pretrained",
        auto_class=auto_class.__name__,
        pipeline_tag=pipeline_tag,
        corpora=text.names,
        facts=run.told,
        metrics=outcome.metrics,
        examples=examples,
    )
    export(model, tokenizer, folder, str(card))
    (opened,) = prove_reload([reopening(folder, card.usage, model, tokenizer, text.validation).write()])
    run.tell(reloaded=str(opened))
    run.finish([*summary(outcome.metrics), *examples, f"model: {folder}"], outcome.metrics)
