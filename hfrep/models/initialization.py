"""Initial weights that spare a small run its first plateau, for stock classes.

Fresh encoders sit at the unigram loss until attention has learned to look at neighbours. Two things shorten that:

- the output bias starts as the log frequency of each token in the training text, so that training starts at the unigram
  loss instead of spending its first steps on it;
- where positions are learned vectors (BERT, RoBERTa), they start as rotations, of which "one to the left" is a linear
  function (Vaswani et al. 2017, section 3.5), and the heads of the first layer start by looking at the token itself
  and at one that is one or two to its left or right. As in mimetic initialization (Trockman and Kolter 2023), attention
  starts where trained attention ends up; here it is derived, not copied. Architectures with rotary positions are left
  as their class makes them.

Everything stays trainable.
"""

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.order import Integers

OFFSETS = (-1, 1, -2, 2)  # tokens; what the heads of the first layer look at, in turn
SHARPNESS = 8.0  # logit by which a head prefers its offset to a random one
SLOWEST, FASTEST = 0.01, 2.5  # radians per position
AMPLITUDE = 2.0  # of the rotations, in standard deviations of a word vector
REST = 0.1  # what is left of the random part of position vectors


@torch.no_grad()
def initialize_from_text(model: PreTrainedModel, counts: Integers) -> None:
    """Set the output bias of a fresh `model` from `counts` int64 [V] of the training tokens, and its local heads."""
    smoothed = torch.from_numpy(counts).double() + 1
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        log_frequency = (smoothed / smoothed.sum()).log()
        head.bias[: len(counts)] = log_frequency.to(head.bias)
    embeddings = getattr(model.base_model, "embeddings", None)
    positions = getattr(embeddings, "position_embeddings", None)
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if positions is not None and layers is not None and hasattr(layers[0].attention, "self"):
        size = model.config.hidden_size // model.config.num_attention_heads // 2
        frequencies = _rotate(positions.weight, size, model.config.initializer_range)
        attention = layers[0].attention.self
        _look_at_neighbours(attention.query.weight, attention.key.weight, frequencies)


def _rotate(positions: Tensor, size: int, deviation: float) -> Tensor:
    """Let the first 2K dimensions of `positions` [P, H] be K = `size` rotations; returns their frequencies [K]."""
    frequencies = FASTEST * (SLOWEST / FASTEST) ** (torch.arange(size) / (size - 1))
    angles = torch.arange(len(positions))[:, None] * frequencies
    positions.mul_(REST)
    rotations = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    positions[:, : 2 * size] = rotations * deviation * AMPLITUDE
    return frequencies


def _look_at_neighbours(query: Tensor, key: Tensor, frequencies: Tensor) -> None:
    """Add to each head's rows of `query` and `key` [H, H] what makes its logit Σ cos(w (distance − offset)).

    At the head's offset the sum comes to `SHARPNESS`.
    """
    width, size = len(query), len(frequencies)
    per_head = 2 * size
    # The layer norm behind the embeddings divides by the variance of words (1) and rotations (½ on 2K dimensions).
    power = AMPLITUDE**2 * width / (width + size * AMPLITUDE**2)
    scale = math.sqrt(SHARPNESS * math.sqrt(per_head) / (size * power))
    for head in range(width // per_head):
        angle = frequencies * OFFSETS[head % len(OFFSETS)]
        cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
        turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)
        rows = slice(head * per_head, (head + 1) * per_head)
        query[rows, :per_head] += scale * turned.reshape(per_head, per_head)
        key[rows, :per_head] += scale * torch.eye(per_head)
