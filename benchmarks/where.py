"""What a side computes on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import TorchDynamoPlugin


@dataclass(frozen=True)
class Where:
    """What a side computes on: CPU and float32, or a GPU and bfloat16; compiled by torch or not."""

    gpu: bool = False
    compiled: bool = False

    def accelerator(self) -> Accelerator:
        return Accelerator(
            cpu=not self.gpu,
            mixed_precision="bf16" if self.gpu else "no",
            dynamo_plugin=TorchDynamoPlugin(backend="inductor") if self.compiled else None,
        )

    def arguments(self) -> dict[str, Any]:
        """The same for `Trainer`."""
        return {"use_cpu": not self.gpu, "bf16": self.gpu, "torch_compile": self.compiled}

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if self.gpu else "cpu")

    @property
    def dtype(self) -> torch.dtype:
        """That matrix products are computed in."""
        return torch.bfloat16 if self.gpu else torch.float32

    def precision(self) -> torch.autocast:
        """The context that models are computed in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.gpu)

    def moved(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: part.to(self.device) for name, part in batch.items()}

    def now(self) -> float:
        """Seconds, when all that was asked for is done."""
        if self.gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


CPU = Where()
