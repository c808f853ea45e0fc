"""Trying out on a short text what a live model does, and leaving it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All of `model` in eval mode, and each part back in its own afterwards; no gradients."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, flag in training:
            module.training = flag


def short_texts(model: nn.Module, rows: int, length: int) -> Tensor:
    """Words for `model`, all different where its vocabulary has enough of them: int64 [rows, length]."""
    config: Any = model.config
    words = torch.arange(rows * length, device=next(model.parameters()).device)
    return words.view(rows, length) % int(config.vocab_size)
