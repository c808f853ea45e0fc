"""What a token may attend to, where a row holds several documents; and the proof that it attends to nothing else.

A row is packed: ``[CLS] a a a [SEP] [CLS] b b [SEP] [PAD]`` has the segments ``1 1 1 1 1 2 2 2 2 0``. With
``--documents isolate`` a token attends to its own segment only and positions restart with each segment, so that a
packed document is computed as if it stood alone. With ``join`` a row is one text, as in the stock scripts. In a decoder
a token attends to itself and to what stands before it, of all that.

Position ids that restart isolate nothing by themselves: under sdpa the encoders of transformers 5.23 do not look at
them when they make their masks, and its decoders do so only where they keep no cache, GPT never. A 4-D mask, which the
classes hand to their layers as it is, isolates in all of them; classes with several kinds of layers (ModernBERT) take
one mask per kind. GPT alone reshapes what it is given: see `admit_row_masks`. This file is the only place that makes
masks.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from hfrep.errors import ProofError
from hfrep.models.probing import evaluating

Documents = Literal["isolate", "join"]
Inputs = dict[str, Tensor | dict[str, Tensor] | bool]

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


def longest_document(config: PreTrainedConfig) -> int | None:
    """Tokens, special ones included, that the model has positions for; None where it sets no limit."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    return None if positions is None else positions - first_position(config)


def is_causal(model_type: str, config: PreTrainedConfig | None = None) -> bool:
    """Whether models of this type see the past only: decoders, and what `config` turns into one (``is_decoder``)."""
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return bool(getattr(config, "is_decoder", False))
    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


@dataclass(frozen=True)
class RowInputs:
    """Segments of a batch → the attention mask and position ids that one architecture wants.

    Attributes:
        documents: whether the documents of a row see each other (``join``) or not (``isolate``).
        windows: kind of layer → how far off the positions are that it sees, at most; None for no limit.
        first_position: position id of a document's first token; None for a model that takes no position ids.
        additive: the attention wants 0 and the lowest float instead of true and false.
        causal: a token sees itself and what stands before it only.
        caches: the class would keep keys and values for generation unless told not to.
    """

    documents: Documents
    windows: Mapping[str, int | None]
    first_position: int | None
    additive: bool
    causal: bool
    caches: bool

    @classmethod
    def of(cls, model: PreTrainedModel, documents: Documents) -> "RowInputs":
        """What `model` wants: one mask for all layers, or one for each kind in ``config.layer_types``.

        Raises:
            ProofError: documents are to be isolated in layers of a kind that no mask is known for.
        """
        config, accepted = model.config, inspect.signature(model.forward).parameters
        causal = is_causal(config.model_type, config)
        kinds = getattr(config, "layer_types", None) or ["full_attention"]
        if causal and not hasattr(config, "layer_types") and getattr(config, "sliding_window", None):
            kinds = ["sliding_attention"]  # older decoders: one window for all layers
        unknown = set(kinds) - {"full_attention", "sliding_attention"}
        if documents == "isolate" and unknown:
            raise _not_isolated(model, f"layers of kind {', '.join(sorted(unknown))}, for which no mask is known")
        return cls(
            documents=documents,
            windows={
                kind: _window(config, causal) if kind == "sliding_attention" else None for kind in sorted(set(kinds))
            },
            first_position=first_position(config) if "position_ids" in accepted else None,
            additive=config._attn_implementation == "eager",
            causal=causal,
            caches=causal and "use_cache" in accepted,
        )

    def __call__(self, segments: Tensor) -> Inputs:
        """Keyword arguments for the stock class, beside ``input_ids``.

        Args:
            segments: integers [b, L]: 1, 2, 3 … for the segments of a row in order, 0 for padding.

        Returns:
            isolate: ``attention_mask`` bool [b, 1, L, L], true where the query (axis 2) may see the key (axis 3), or a
            dict of such by kind of layer; ``position_ids`` int64 [b, L], restarting with each segment. Padding sees
            padding, because a query that sees nothing has no softmax.
            join: ``attention_mask`` int64 [b, L], 1 where there is a token; positions, and the order of time, are left
            to the class.
            In both, ``use_cache`` false for a class that would keep a cache.
        """
        inputs: Inputs = {"use_cache": False} if self.caches else {}
        if self.documents == "join":
            return inputs | {"attention_mask": (segments > 0).long()}
        offsets = torch.arange(segments.shape[1], device=segments.device)
        distance = offsets[:, None] - offsets[None, :]
        visible = segments[:, None, :, None] == segments[:, None, None, :]
        if self.causal:
            visible = visible & (distance >= 0)
        inputs["attention_mask"] = self._masks(visible, distance)
        if self.first_position is not None:
            starts = torch.ones_like(segments, dtype=torch.bool)
            starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
            begins = torch.where(starts, offsets, 0).cummax(dim=1).values
            inputs["position_ids"] = offsets - begins + self.first_position
        return inputs

    def branching(self, branches: Tensor, depths: Tensor, before: int = 0) -> Inputs:
        """The same for rows in which several texts share their beginning, with keys and values from before.

        So texts that begin alike go through the model once, up to where they part. Padding is seen by padding only.

        Args:
            branches: int64 [b, L]: 0 for what all texts of the row share, which stands first, then 1, 2, 3 … for what
                each has of its own, -1 for padding.
            depths: int64 [b, L]: tokens of its text that stand before a token, those from before included.
            before: tokens that all rows share, whose keys and values the class is given.

        Returns:
            ``attention_mask`` [b, 1, L, before + L] and ``position_ids`` as above.
        """
        own, other = branches[:, None, :, None], branches[:, None, None, :]
        offsets = torch.arange(branches.shape[1], device=branches.device)
        visible = ((other == own) | (other == 0)) & (offsets[:, None] >= offsets[None, :])
        visible = torch.cat([visible.new_ones(*visible.shape[:3], before), visible], dim=-1)
        past = torch.arange(before, device=depths.device).expand(len(depths), before)
        distance = depths[:, None, :, None] - torch.cat([past, depths], dim=1)[:, None, None, :]
        inputs: Inputs = {"attention_mask": self._masks(visible, distance)}
        if self.first_position is not None:
            inputs["position_ids"] = depths + self.first_position
        return inputs

    def _masks(self, visible: Tensor, distance: Tensor) -> Tensor | dict[str, Tensor]:
        """What the class takes for what is `visible`, at a `distance` of positions: a mask, or one a kind of layer."""
        masks = {
            kind: self._in_dtype(visible if window is None else visible & (distance.abs() <= window))
            for kind, window in self.windows.items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _in_dtype(self, mask: Tensor) -> Tensor:
        return torch.where(mask, 0.0, torch.finfo(torch.float32).min) if self.additive else mask


def _window(config: PreTrainedConfig, causal: bool) -> int:
    """How far off a sliding layer sees: the classes count a decoder's own position in its window, an encoder's not."""
    return int(config.sliding_window) - causal


def admit_row_masks(model: PreTrainedModel) -> None:
    """Let a `model` of GPT's class take a 4-D mask too; other classes do, and are left as they are.

    GPT's class makes [b, 1, 1, L] of whatever it is given. A hook takes a 4-D mask out of its way, and others give it
    to the attention of each layer, which adds it to its logits. Hooks are not saved: the export is the stock model.
    """
    if model.config.model_type == "openai-gpt":
        passage = _Passage()
        model.base_model.register_forward_pre_hook(passage.take, with_kwargs=True)
        for block in model.base_model.h:
            block.attn.register_forward_pre_hook(passage.give, with_kwargs=True)


class _Passage:
    """Forward pre-hooks that carry a 4-D mask from a backbone's arguments to its attentions, for one forward."""

    mask: Tensor | None = None

    def take(self, backbone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs.get("attention_mask")
        self.mask = mask if mask is not None and mask.ndim == 4 else None
        if self.mask is not None:
            kwargs = kwargs | {"attention_mask": self.mask.new_ones(self.mask.shape[0], self.mask.shape[-1])}
        return args, kwargs

    def give(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs if self.mask is None else kwargs | {"attention_mask": self.mask}


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
    segments, words, others = _probe(model, sequence_length)
    with evaluating(model):
        reference, *moved = [
            _outputs(model, torch.where(segments == changed, others, words), row_inputs(segments))
            for changed in (-1, 0, 1, 2)
        ]
    for changed, output in enumerate(moved):
        shift = _shift(output, reference)
        documents = segments[0] > 0
        leak = shift[documents & (segments[0] != changed)].max().item()
        if not leak <= PROOF_TOLERANCE:
            raise _not_isolated(model, f"{type(model).__name__} outputs that moved by {leak:.1e} of their size")
        if changed > 0 and not shift[segments[0] == changed].max().item() > PROOF_TOLERANCE:
            raise _not_isolated(model, f"{type(model).__name__} outputs that do not depend on the tokens at all")


def prove_causality(model: PreTrainedModel, row_inputs: Callable[[Tensor], Inputs], *, sequence_length: int) -> None:
    """Show that changing a token moves no output before it: in the run's rows, and in a text given to the stock class.

    A model that is causal by the run's masks alone would be another one for whoever opens the export. The conditions
    and arguments are those of `prove_isolation`.

    Raises:
        ProofError: an earlier output moved, or the token's own did not.
    """
    segments, words, others = _probe(model, sequence_length)
    length = segments.shape[1]
    offsets = torch.arange(length, device=model.device)
    text: Inputs = {"attention_mask": torch.ones_like(segments)}
    for inputs, told in ((row_inputs(segments), "in packed rows"), (text, "in a text given to the stock class")):
        with evaluating(model):
            reference = _outputs(model, words, inputs)
            for token in sorted({1, length // 4, length // 2 - 1, length // 2, length - 1}):
                shift = _shift(_outputs(model, torch.where(offsets == token, others, words), inputs), reference)
                early = shift[:token].max().item()
                if not early <= PROOF_TOLERANCE:
                    raise _not_causal(
                        model, f"outputs before a changed token that moved by {early:.1e} of their size {told}"
                    )
                if not shift[token].item() > PROOF_TOLERANCE:
                    raise _not_causal(model, f"outputs that do not depend on their own token {told}")


def _probe(model: PreTrainedModel, sequence_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Segments of two documents and padding, words for them, and other words, int64 [1, L] each."""
    length = min(sequence_length, PROOF_LENGTH)
    segments = torch.zeros(1, length, dtype=torch.long, device=model.device)
    half, padding = length // 2, length // 8 + 1
    segments[:, :half], segments[:, half : length - padding] = 1, 2
    words = (torch.arange(length, device=model.device) % model.config.vocab_size)[None]
    return segments, words, (words + 1) % model.config.vocab_size


def _shift(output: Tensor, reference: Tensor) -> Tensor:
    """How far each position's vector moved, in parts of the largest output [L]; the arguments are [1, L, H]."""
    return ((output - reference).abs().amax(dim=-1) / reference.abs().max())[0]


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


def _not_causal(model: PreTrainedModel, found: str) -> ProofError:
    return ProofError(
        where=f"a causal language model of {type(model).__name__}",
        expected="outputs to hang on their own token and on earlier ones alone",
        found=found,
        do="take a decoder such as gpt2",
    )
