"""Several supervised tasks at once: one body, and of each task's stock class the head.

This is the hard sharing of Caruana 1997, "Multitask learning", done for BERT and GLUE by Liu et al. 2019, "Multi-task
deep neural networks for natural language understanding". They take a task for each batch; here tasks are mixed inside
a batch. The loss is one sum over all examples, of nats and of squared errors, and its count is their number: the
gradient is the mean over examples, however tasks are mixed and batches divided.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfrep.data.batches import Batch
from hfrep.objectives.supervised import Predictor, Supervised


class Multitask(Predictor):
    """Stock sequence-classification models, one a task, on the body of the first.

    Batches hold what the class takes (int64 [b, L]), ``task`` int64 [b] and ``targets`` float32 [b], which are label
    numbers or values.

    Args:
        models: of one class and shape; the body of each but the first is replaced, before the next one is made.
        regressions: for each, whether its targets are values.

    Attributes:
        kept: a `Supervised` for each task.
    """

    kept: nn.ModuleList

    def __init__(self, models: Iterable[PreTrainedModel], *, regressions: Sequence[bool]) -> None:
        super().__init__(regression=all(regressions))
        self.kept, self.outputs = nn.ModuleList(), 0
        for model, regression in zip(models, regressions, strict=True):
            if self.tasks:
                setattr(model, model.base_model_prefix, self.tasks[0].kept.base_model)
            self.kept.append(Supervised(model, regression=regression))
            self.outputs = max(self.outputs, model.config.num_labels)

    @property
    def tasks(self) -> list[Supervised]:
        """What predicts each task."""
        return [task for task in self.kept if isinstance(task, Supervised)]

    def logits(self, batch: Batch) -> Tensor:
        """What each example's own task predicts: [b, 1, outputs], with zeros where the task has fewer outputs."""
        logits = torch.zeros(len(batch["task"]), 1, self.outputs, device=batch["task"].device)
        for task, here, part in self._divided(batch):
            if len(here):
                found = task.logits(part)
                logits[here, :, : found.shape[-1]] = found.float()
        return logits

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        totals = [
            task(part)["supervised"] if len(here) else _nothing(task) for task, here, part in self._divided(batch)
        ]
        return {"supervised": torch.stack(totals).sum()}

    def _divided(self, batch: Batch) -> Iterator[tuple[Supervised, Tensor, Batch]]:
        """For each task its rows' places (int64 [r], r ≥ 0) in `batch`, and these rows."""
        for number, task in enumerate(self.tasks):
            here = (batch["task"] == number).nonzero()[:, 0]
            part = {name: values[here] for name, values in batch.items() if name not in ("task", "counted")}
            if "targets" in part and not task.regression:
                part["targets"] = part["targets"].long()
            yield task, here, part


def _nothing(task: Supervised) -> Tensor:
    """0, with a gradient of 0 for the head: data parallelism waits for it, and Adam's means decay in every step."""
    body = f"{task.kept.base_model_prefix}."
    head = [weight for name, weight in task.kept.named_parameters() if not name.startswith(body)]
    return torch.stack([(weight * 0).sum().float() for weight in head]).sum()
