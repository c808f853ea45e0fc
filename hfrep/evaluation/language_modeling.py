"""Validation of language models by totals: Σ nats / Σ tokens over all rows, whatever the batches and processes.

A mean of per-batch means would depend on the batch size; here every process adds up its rows, and the sums are divided
once.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from hfrep.data.batches import Collator, Division, MicroBatches
from hfrep.data.blocks import BlockFacts
from hfrep.data.order import Shuffled
from hfrep.data.rows import Rows
from hfrep.errors import ConfigError
from hfrep.objectives.base import Objective
from hfrep.settings import setting

ROWS_AT_A_TIME = 32
SAMPLE_SEED = 0  # of the sample, whatever the run's seed


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    max_eval_samples: int = setting(1024, "validation rows that are used, the same ones in every run", kind="operation")

    def __post_init__(self) -> None:
        if self.max_eval_samples < 1:
            found = str(self.max_eval_samples)
            raise ConfigError(where="max_eval_samples", expected="1 or more", found=found, do="raise it")


def validation_batches(
    rows: Rows, collator: Collator, settings: ValidationSettings, accelerator: Accelerator
) -> MicroBatches:
    """One pass over a fixed sample of the validation rows, of all corpora alike, divided over the processes."""
    number = min(len(rows), settings.max_eval_samples)
    ranks = accelerator.num_processes
    division = Division(ROWS_AT_A_TIME * ranks, ROWS_AT_A_TIME, accelerator.process_index, ranks)
    return MicroBatches(rows, Shuffled(len(rows), SAMPLE_SEED), division, collator, end=number)


def totals(module: nn.Module, objective: Objective, data: MicroBatches, accelerator: Accelerator) -> dict[str, float]:
    """What `module` (the prepared `objective`, in eval mode) adds up over one pass of `data`, over all processes.

    Returns:
        each number that the objective's forward gives, and for each of its terms ``count_<term>``.
    """
    sums: Counter[str] = Counter()
    with torch.no_grad():  # not inference_mode: what FSDP gathers here is used again in training
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


def bits_per_byte(nats: float, facts: Sequence[BlockFacts]) -> float:
    """What a loss of `nats` per token of a decoder's rows comes to in bits per byte of their text in UTF-8.

    Unlike the loss per token it can be compared between tokenizers. The ends of documents are paid for and have no
    bytes. `facts` are those of all rows; where the loss is that of a sample, tokens per byte are still the whole's.
    """
    tokens, size = sum(fact.content_tokens for fact in facts), sum(fact.bytes for fact in facts)
    return nats * tokens / size / math.log(2)


def summary(metrics: Mapping[str, float]) -> list[str]:
    """An evaluation in two lines: what the model scores, and what counting alone would."""
    loss, unigram, bigram = (metrics[f"eval_{name}"] for name in ("loss", "unigram_loss", "bigram_loss"))
    by_byte = f", {metrics['eval_bits_per_byte']:.3f} bits per byte" if "eval_bits_per_byte" in metrics else ""
    return [
        f"validation {loss:.3f} nats per predicted token "
        f"(perplexity {metrics['eval_perplexity']:.1f}, accuracy {metrics['eval_accuracy']:.1%}){by_byte}",
        f"baselines  unigram {unigram:.3f} ({unigram - loss:+.3f} nats), bigram {bigram:.3f} ({bigram - loss:+.3f})",
    ]
