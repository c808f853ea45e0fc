"""The head of a stock class at chosen positions only.

The stock classes project every position to the vocabulary, where training and scoring want few of them. A hook on the
backbone hands the class only the hidden states at chosen positions, as one row [1, n, H]; the class's own head then
runs on those, whatever it is made of. Where the last layer lets it (`hfrep.models.last_layer`), positions are chosen
before its feed-forward network already.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfrep.models.last_layer import feed_forward_entry
from hfrep.models.probing import evaluating, short_texts

PROBE_ROWS, PROBE_LENGTH = 2, 6
TOLERANCE = 1e-4  # of the largest logit


class SparseHead:
    """What gives a stock `model`'s scores at chosen positions. Called by itself, the model gives them at all, as ever.

    Its hooks stay on the model until `close`; ``with contextlib.closing(SparseHead(model)) as head`` takes them off.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._positions: Tensor | None = None
        self._hooks = [model.base_model.register_forward_hook(self._gather_behind)]
        self._early, found = False, feed_forward_entry(model)
        if found is not None:
            self._layer, entry = found
            hook = entry.register_forward_hook(self._gather_within)
            if self._early_is_the_same():
                self._hooks.append(hook)
            else:
                hook.remove()

    def logits(self, positions: Tensor, **inputs: Any) -> Tensor:
        """Scores over the vocabulary [n, V], in the dtype the class computes in.

        Args:
            positions: int64 [n], indices into the flattened b · L positions.
            inputs: keyword arguments of the class: ``input_ids`` int64 [b, L] and what goes with them.
        """
        logits: Tensor = self.call(self._model, positions, **inputs).logits
        return logits[0]

    def call(self, forward: Callable[..., Any], positions: Tensor | None, **inputs: Any) -> Any:
        """What `forward`, which calls the model, makes of `inputs` with the head at `positions` only, or at all."""
        self._positions = positions
        try:
            return forward(**inputs)
        finally:
            self._positions = None

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def _within(self) -> bool:
        """Whether positions are chosen within the last layer: not where it is computed again in the backward pass."""
        return self._early and not getattr(self._layer, "gradient_checkpointing", False)

    def _gather_within(self, entry: nn.Module, inputs: tuple[object, ...], output: Any) -> Any:
        if self._positions is None or not self._within:
            return output
        if isinstance(output, tuple):
            return (_gathered(output[0], self._positions), *output[1:])
        return _gathered(output, self._positions)

    def _gather_behind(self, backbone: nn.Module, inputs: tuple[object, ...], outputs: ModelOutput) -> ModelOutput:
        if self._positions is not None and not self._within:
            outputs.last_hidden_state = _gathered(outputs.last_hidden_state, self._positions)
        return outputs

    def _early_is_the_same(self) -> bool:
        """Try on a short text whether the logits stay what they are; leaves `_early` set to that."""
        model = self._model
        words = short_texts(model, PROBE_ROWS, PROBE_LENGTH)
        # More positions than a row has, and not in their order.
        positions = torch.arange(words.numel(), device=words.device).flip(0)
        with evaluating(model):
            expected = self.logits(positions, input_ids=words)
            self._early = True
            try:
                found = self.logits(positions, input_ids=words)
                self._early = found.shape == expected.shape and bool(
                    (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
                )
            except (RuntimeError, IndexError):  # other positions were asked for
                self._early = False
        return self._early


def _gathered(hidden: Tensor, positions: Tensor) -> Tensor:
    return torch.index_select(hidden.flatten(0, 1), 0, positions)[None]
