"""What a token may attend to, where a row holds several documents; and the proof that it attends to nothing else.

A row is packed: ``[CLS] a a a [SEP] [CLS] b b [SEP] [PAD]`` has the segments ``1 1 1 1 1 2 2 2 2 0``. With
``--documents isolate`` a token attends to its own segment only and positions restart with each segment, so that a
packed document is computed as if it stood alone. With ``join`` a row is one text, as in the stock scripts.

Position ids that restart isolate nothing by themselves: under sdpa the encoders of transformers 5.23 do not look at
them when they make their masks. A 4-D mask, which the classes hand to their layers as it is, isolates in all of them;
classes with several kinds of layers (ModernBERT) take one mask per kind. This file is the only place that makes masks.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hfrep.errors import ProofError

Documents = Literal["isolate", "join"]
Inputs = dict[str, Tensor | dict[str, Tensor]]

PROOF_LENGTH = 128  # tokens; leaks do not depend on length beyond the sliding windows in use
PROOF_TOLERANCE = 1e-6  # of the largest output

# Architectures whose first position is padding_idx + 1 (fairseq's convention).
COUNTED_FROM_PADDING = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)


def first_position(config: PreTrainedConfig) -> int:
    """The position id of a document's first token."""
    return int(config.pad_token_id) + 1 if config.model_type in COUNTED_FROM_PADDING else 0


@dataclass(frozen=True)
class RowInputs:
    """Segments of a batch → the attention mask and position ids that one architecture wants.

    Attributes:
        documents: whether the documents of a row see each other (``join``) or not (``isolate``).
        windows: kind of layer → how many positions to each side it sees; None for all.
        first_position: position id of a document's first token; None for a model that takes no position ids.
        additive: the attention wants 0 and the lowest float instead of true and false.
    """

    documents: Documents
    windows: Mapping[str, int | None]
    first_position: int | None
    additive: bool

    @classmethod
    def of(cls, model: PreTrainedModel, documents: Documents) -> "RowInputs":
        """What `model` wants: one mask for all layers, or one for each kind in ``config.layer_types``."""
        config = model.config
        kinds = sorted(set(getattr(config, "layer_types", None) or ["full_attention"]))
        return cls(
            documents=documents,
            windows={kind: config.sliding_window if kind == "sliding_attention" else None for kind in kinds},
            first_position=(
                first_position(config) if "position_ids" in inspect.signature(model.forward).parameters else None
            ),
            additive=config._attn_implementation == "eager",
        )

    def __call__(self, segments: Tensor) -> Inputs:
        """Keyword arguments for the stock class, beside ``input_ids``.

        Args:
            segments: integers [b, L]: 1, 2, 3 … for the segments of a row in order, 0 for padding.

        Returns:
            isolate: ``attention_mask`` bool [b, 1, L, L], true where the query (axis 2) may see the key (axis 3), or a
            dict of such by kind of layer; ``position_ids`` int64 [b, L], restarting with each segment. Padding sees
            padding, because a query that sees nothing has no softmax.
            join: ``attention_mask`` int64 [b, L], 1 where there is a token; positions are left to the class.
        """
        if self.documents == "join":
            return {"attention_mask": (segments > 0).long()}
        offsets = torch.arange(segments.shape[1], device=segments.device)
        same = segments[:, None, :, None] == segments[:, None, None, :]
        distance = (offsets[:, None] - offsets[None, :]).abs()
        masks = {
            kind: self._in_dtype(same if window is None else same & (distance <= window))
            for kind, window in self.windows.items()
        }
        inputs: Inputs = {"attention_mask": masks if len(masks) > 1 else next(iter(masks.values()))}
        if self.first_position is not None:
            starts = torch.ones_like(segments, dtype=torch.bool)
            starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
            begins = torch.where(starts, offsets, 0).cummax(dim=1).values
            inputs["position_ids"] = offsets - begins + self.first_position
        return inputs

    def _in_dtype(self, mask: Tensor) -> Tensor:
        return torch.where(mask, 0.0, torch.finfo(torch.float32).min) if self.additive else mask


def prove_isolation(model: PreTrainedModel, row_inputs: Callable[[Tensor], Inputs], *, sequence_length: int) -> None:
    """Show that in a row of two documents and padding, changing one of the three moves nothing in the other documents.

    The model is run on its own device, in eval mode, without gradients and without drawing random numbers; its
    training flags are put back.

    Args:
        model: a stock class; its backbone's outputs are compared.
        row_inputs: what turns segments into the model's inputs: its `RowInputs`.
        sequence_length: tokens per row of the run; at most `PROOF_LENGTH` are used, and at least 4 are needed.

    Raises:
        ProofError: a document moved, the model does not take such inputs, or its outputs do not depend on its input.
    """
    length = min(sequence_length, PROOF_LENGTH)
    segments = torch.zeros(1, length, dtype=torch.long, device=model.device)
    half, padding = length // 2, length // 8 + 1
    segments[:, :half], segments[:, half : length - padding] = 1, 2
    words = (torch.arange(length, device=model.device) % model.config.vocab_size)[None]
    others = (words + 1) % model.config.vocab_size
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        outputs = [
            _outputs(model, torch.where(segments == changed, others, words), row_inputs(segments))
            for changed in (-1, 0, 1, 2)
        ]
    finally:
        for module, flag in training:
            module.training = flag
    reference, *moved = outputs
    scale = reference.abs().max()
    for changed, output in enumerate(moved):
        shift = ((output - reference).abs().amax(dim=-1) / scale)[0]
        documents = segments[0] > 0
        leak = shift[documents & (segments[0] != changed)].max().item()
        if not leak <= PROOF_TOLERANCE:
            raise _not_isolated(model, f"{type(model).__name__} outputs that moved by {leak:.1e} of their size")
        if changed > 0 and not shift[segments[0] == changed].max().item() > PROOF_TOLERANCE:
            raise _not_isolated(model, f"{type(model).__name__} outputs that do not depend on the tokens at all")


@torch.no_grad()
def _outputs(model: PreTrainedModel, input_ids: Tensor, inputs: Inputs) -> Tensor:
    try:
        hidden: Tensor = model.base_model(input_ids=input_ids, **inputs)[0]
    except Exception as error:  # a class that was not written for such masks fails in its own way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _not_isolated(model, f"{type(model).__name__}, which takes no mask per document ({reason})") from error
    return hidden.float()


def _not_isolated(model: PreTrainedModel, found: str) -> ProofError:
    return ProofError(
        where=f"--documents isolate with {model.config.model_type}",
        expected="a document's outputs to hang on its own tokens and on nothing else in the row",
        found=found,
        do="train with --documents join, or take another architecture",
    )
