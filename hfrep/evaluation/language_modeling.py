"""Validation of language models by totals: Σ nats / Σ tokens over all rows, whatever the batches and processes.

A mean of per-batch means would depend on the batch size; here every process adds up its rows, and the sums are divided
once.
"""

import math
from collections import Counter

import torch
from accelerate import Accelerator
from torch import nn

from hfrep.data.batches import MicroBatches
from hfrep.objectives.base import Objective


def totals(module: nn.Module, objective: Objective, data: MicroBatches, accelerator: Accelerator) -> dict[str, float]:
    """What `module` (the prepared `objective`, in eval mode) adds up over one pass of `data`, over all processes.

    Returns:
        each number that the objective's forward gives, and for each of its terms ``count_<term>``.
    """
    sums: Counter[str] = Counter()
    with torch.inference_mode():
        for number in range(len(data)):
            batch = {name: part.to(accelerator.device) for name, part in data[number].items()}
            counts = {f"count_{term}": float(count) for term, count in objective.counts(batch).items()}
            forward = {name: float(total) for name, total in module(batch).items()}
            for name, value in (counts | forward).items():
                sums[name] += value * float(batch["counted"])
    names = sorted(sums)
    mine = torch.tensor([sums[name] for name in names], dtype=torch.float64)
    together = accelerator.reduce(mine.float().to(accelerator.device), "sum")
    return dict(zip(names, together.tolist(), strict=True))


def language_modeling_metrics(sums: dict[str, float], term: str) -> dict[str, float]:
    """From `totals`: loss in nats per predicted token, its perplexity, and the share of targets guessed first."""
    loss = sums[term] / sums[f"count_{term}"]
    return {
        "eval_loss": loss,
        "eval_perplexity": math.exp(min(loss, 700.0)),
        "eval_accuracy": sums["correct"] / sums[f"count_{term}"],
    }
