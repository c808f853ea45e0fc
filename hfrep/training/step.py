"""The gradient of one optimizer step: sums over micro-batches and processes, divided by global counts once.

The step's micro-batches are at hand before any forward pass, so that their counts can be added over the processes
first; each micro-batch then backpropagates Σ weight · total / global count. However the global batch is divided, the
gradient is the same. Data parallelism averages gradients over processes, which the factor `num_processes` undoes.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor

from hfrep.data.batches import Batch
from hfrep.objectives.base import Objective


@dataclass(frozen=True)
class Sums:
    """What a step adds up over all micro-batches and processes.

    Attributes:
        totals: nats (or the term's own unit), by term.
        counts: what each term's total is a sum over, by term.
        gradient_norm: Euclidean norm before it was limited.
        signals: the numbers given to `Gradient.accumulate`, summed over processes.
        suspects: this process's micro-batches whose totals are not finite.
    """

    totals: dict[str, float]
    counts: dict[str, float]
    gradient_norm: float
    signals: list[float]
    suspects: list[int]


def mean_loss(steps: Sequence[Sums], weights: Mapping[str, float]) -> float:
    """Σ weight · total / count over several steps, by their totals."""
    terms = steps[0].totals
    return sum(
        weights.get(term, 1.0)
        * sum(step.totals[term] for step in steps)
        / max(1.0, sum(step.counts[term] for step in steps))
        for term in terms
    )


class Gradient:
    """Accumulates the gradient of a step in the parameters of the prepared `module`."""

    def __init__(
        self, accelerator: Accelerator, objective: Objective, module: nn.Module, max_grad_norm: float | None
    ) -> None:
        self.accelerator, self.objective, self.module = accelerator, objective, module
        self.max_grad_norm = max_grad_norm or float("inf")

    def accumulate(self, batches: Sequence[Batch], signals: Sequence[float]) -> Sums:
        """Forward and backward through the micro-batches of a step; `signals` ride along on its reduction."""
        device = self.accelerator.device
        batches = [{name: part.to(device, non_blocking=True) for name, part in batch.items()} for batch in batches]
        terms, counts = self._counts(batches)
        local = [
            self._backward(batch, terms, counts, last=number == len(batches) - 1)
            for number, batch in enumerate(batches)
        ]
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        carried = torch.tensor(list(signals), device=device)
        totals = torch.stack(local)
        summed = self.accelerator.reduce(torch.cat([totals.sum(0), carried]), "sum")
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        odd = (~totals.isfinite()).any(1)
        # Read at once: for each number that is read, a GPU has first to end all that it was given.
        read = iter(torch.cat([summed, counts, norm.float().reshape(1).to(device), odd.float()]).tolist())
        return Sums(
            totals={term: next(read) for term in terms},
            signals=[next(read) for _ in signals],
            counts={term: next(read) for term in terms},
            gradient_norm=next(read),
            suspects=[number for number, flag in enumerate(read) if flag],
        )

    def _counts(self, batches: Sequence[Batch]) -> tuple[list[str], torch.Tensor]:
        """The objective's terms, and the count of each over the micro-batches of all processes, float32 [terms]."""
        local = [self.objective.counts(batch) for batch in batches]
        terms = list(local[0])
        counts = [
            torch.stack([torch.as_tensor(count[term], device=self.accelerator.device).float() for term in terms])
            * batch["counted"]
            for count, batch in zip(local, batches, strict=True)
        ]
        return terms, self.accelerator.reduce(torch.stack(counts).sum(0), "sum")

    def _backward(self, batch: Batch, terms: Sequence[str], counts: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Backpropagate a micro-batch's share of the step's loss; returns its totals, float32 [terms]."""
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            totals = self.module(batch)
            stacked = torch.stack([totals[term].float() for term in terms]) * batch["counted"]
            weights = torch.tensor([self.objective.weights.get(term, 1.0) for term in terms], device=stacked.device)
            # A term that the whole step has no target for adds 0.
            loss = (weights * stacked / counts.clamp(min=1.0)).sum() * self.accelerator.num_processes
            self.accelerator.backward(loss)
        return stacked.detach()
