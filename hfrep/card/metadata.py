"""The YAML header of a card, by huggingface_hub's own classes: what the Hub files a model under.

Scores go into ``model-index``. Their names there are those of https://hf.co/metrics where it has them.
"""

import re
from collections.abc import Iterator, Sequence

from huggingface_hub import EvalResult, ModelCardData

from hfrep.card.facts import Evaluation

ORDER = ("library_name", "pipeline_tag", "language", "license", "base_model", "datasets", "tags")
# Our name of a metric → the Hub's, and what it is to a reader.
METRICS = {
    "loss": ("loss", "nats per predicted token"),
    "perplexity": ("perplexity", "exp of the loss"),
    "accuracy": ("accuracy", "share that is right"),
    "bits_per_byte": ("bits_per_byte", "bits per byte of the text in UTF-8"),
    "f1": ("f1", "of label 1"),
    "matthews": ("matthews_correlation", "Matthews' correlation"),
    "pearson": ("pearsonr", "Pearson's correlation"),
    "spearman": ("spearmanr", "Spearman's correlation"),
}
# What is no score of the model: it is told to readers, and not filed.
BASELINES = dict.fromkeys(("unigram_loss", "bigram_loss"), "counting alone, for comparison")
DIGITS = 6  # significant ones of a score
_TASKS = {"fill-mask": "Masked language modeling", "text-generation": "Causal language modeling"}


def header(
    *,
    name: str,
    pipeline_tag: str,
    library_name: str | None,
    tags: Sequence[str],
    datasets: Sequence[str],
    base_model: str | None,
    language: Sequence[str],
    license: str | None,
    evaluations: Sequence[tuple[str, Evaluation]],
) -> str:
    """The header with its lines of dashes.

    Args:
        name: of the model in ``model-index``.
        base_model: Hub id.
        evaluations: each with what tells it from others of the same split; empty where there are none.
    """
    results = [result for label, one in evaluations for result in _results(one, pipeline_tag, label)]
    data = ModelCardData(
        library_name=library_name,
        pipeline_tag=pipeline_tag,
        language=list(language) or None,
        license=license,
        base_model=base_model,
        datasets=list(datasets) or None,
        tags=list(tags),
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml(original_order=list(ORDER))}\n---"


def _results(evaluation: Evaluation, task: str, label: str) -> Iterator[EvalResult]:
    dataset, _, config = (evaluation.dataset or "").partition(":")
    for name, score in evaluation.scores.items():
        if name not in METRICS:
            continue
        yield EvalResult(
            task_type=task,
            task_name=_TASKS.get(task),
            # The Hub wants an id here, whether it has the data or not.
            dataset_type=dataset or re.sub(r"[^\w.-]+", "-", evaluation.data).strip("-"),
            dataset_name=evaluation.data,
            dataset_config=config or None,
            dataset_split=evaluation.split or None,
            metric_type=METRICS[name][0],
            metric_name=", ".join(filter(None, [name.replace("_", " "), label])),
            metric_value=float(f"{score:.{DIGITS}g}"),
        )
