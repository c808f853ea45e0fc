"""What the head of a stock sequence-classification class is given, taken out and put in.

The head are the class's modules that a pretrained checkpoint does not have. The first of them to run is given the
hidden states of all tokens, or the one vector of a text that the class picked before. Some classes pick a text's first
token and some the last, before their head or behind it; which it is shows in the gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfrep.errors import ConfigError

Vectors = Callable[[dict[str, Tensor]], Tensor]  # inputs of a stock class → [b, layers, H]


def class_head_vectors(model: PreTrainedModel, new: Sequence[str]) -> Vectors:
    """What gives the vectors [b, 1, H] that the head of `model`, its modules `new`, reads of each text.

    Raises:
        ConfigError: there is nothing new, or it reads more than the first or the last token.
    """
    if not new:
        raise ConfigError(
            where="--pooling class_head",
            expected="a model whose head is yet to be trained",
            found=f"{type(model).__name__} with all its weights",
            do="give --pooling mean, or go on training all of it with --adaptation full",
        )
    reads_last: list[bool] = []

    def vectors(inputs: dict[str, Tensor]) -> Tensor:
        given: list[Tensor] = []
        with inputs_seen(model, new, given.append):
            model(**inputs)
        (hidden,) = given
        if hidden.ndim == 2:
            return hidden[:, None]
        if not reads_last:
            reads_last.append(_reads_last(model, new))
        token = _last_read(model, inputs) if reads_last[0] else torch.zeros_like(inputs["input_ids"][:, 0])
        return hidden[torch.arange(len(hidden), device=hidden.device), token][:, None]

    return vectors


@contextmanager
def inputs_seen(model: PreTrainedModel, new: Sequence[str], see: Callable[[Tensor], object]) -> Iterator[None]:
    """While open, `see` is given what the first of the modules `new` gets in a forward: [b, L, H] or [b, H].

    Where it returns a tensor, the module gets that instead.
    """
    seen: list[nn.Module] = []

    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if seen:
            return None
        seen.append(module)
        instead = see(args[0])
        return (instead, *args[1:]) if isinstance(instead, Tensor) else None

    handles = [model.get_submodule(name).register_forward_pre_hook(hook) for name in new]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _last_read(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """Where the class finds the last token of each text, int64 [b]: the last one that is not the pad token."""
    mask, pad = inputs["attention_mask"], model.config.pad_token_id
    seen = mask if pad is None else (inputs["input_ids"] != pad).long()
    return (seen * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)


@torch.inference_mode(False)
def _reads_last(model: PreTrainedModel, new: Sequence[str]) -> bool:
    """Whether the head reads the last token's vector; otherwise it is the first one's."""
    length = 4
    others = (token for token in range(model.config.vocab_size) if token != model.config.pad_token_id)
    tokens = torch.tensor([list(islice(others, length))], device=model.device)
    leaves: list[Tensor] = []

    def leaf(hidden: Tensor) -> Tensor:
        leaves.append(hidden.detach().clone().requires_grad_())
        return leaves[0]

    with torch.enable_grad(), inputs_seen(model, new, leaf):
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        (gradient,) = torch.autograd.grad(logits.sum(), leaves)
    read = gradient[0].abs().amax(-1) > 0
    if int(read.sum()) != 1 or not bool(read[0] | read[-1]):
        raise ConfigError(
            where="--pooling class_head",
            expected="a class whose head reads the first or the last token",
            found=f"{type(model).__name__}, which reads {int(read.sum())} of {length}",
            do="give --pooling mean",
        )
    return bool(read[-1])
