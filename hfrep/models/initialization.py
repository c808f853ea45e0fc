"""Initial weights that spare a small run its first plateau, for stock classes.

Fresh models sit at the unigram loss until attention has learned to look at neighbours. Two things shorten that:

- the output bias starts as the log frequency of each token in the training text, so that training starts at the unigram
  loss instead of spending its first steps on it;
- where positions are learned vectors (BERT, RoBERTa, GPT-2), they start as rotations, of which "one to the left" is a
  linear function (Vaswani et al. 2017, section 3.5), and the heads of the first layer start by looking at the token
  itself and at one that is one or two to its left or right, in a decoder to its left. As in mimetic initialization
  (Trockman and Kolter 2023), attention starts where trained attention ends up; here it is derived, not copied.
  Architectures with rotary positions are left as their class makes them.

GPT-2's output has no bias, but a way to one: see `bias_by_last_norm`. Llama and Qwen3 have none, since their norms take
no mean out and add nothing, and neither has GPT, whose first layer reads the word vectors before any norm: these start
as their classes make them. Everything stays trainable.
"""

import math

import torch
from torch import Tensor, nn
from transformers import GPT2Model, PreTrainedModel

from hfrep.data.order import Integers
from hfrep.models.isolation import is_causal

OFFSETS = (-1, 1, -2, 2)  # tokens; what the heads of the first layer look at, in turn
PAST_OFFSETS = (-1, -2)
SHARPNESS = 8.0  # logit by which a head prefers its offset to a random one
SLOWEST, FASTEST = 0.01, 2.5  # radians per position
AMPLITUDE = 2.0  # of the rotations, in standard deviations of a word vector
REST = 0.1  # what is left of the random part of position vectors
NORM_BIAS = 0.1  # of GPT-2's last norm; at 1, where AdamW's steps change frequencies tenfold, training was slower


@torch.no_grad()
def initialize_from_text(model: PreTrainedModel, counts: Integers) -> None:
    """Give a fresh `model` the log frequencies of the targets and heads that look at neighbours, as far as it can.

    Args:
        counts: how often each token is a target, int64 [at most V]; the rest of the vocabulary never is.
    """
    smoothed = torch.ones(model.config.vocab_size, dtype=torch.float64)
    smoothed[: len(counts)] += torch.from_numpy(counts)
    log_frequency = (smoothed / smoothed.sum()).log()
    head, backbone = model.get_output_embeddings(), model.base_model
    if getattr(head, "bias", None) is not None:
        head.bias.copy_(log_frequency)
    elif isinstance(backbone, GPT2Model):
        bias_by_last_norm(head.weight, backbone.ln_f, log_frequency)
    first = _first_attention(backbone)
    if first is not None:
        positions, query, key = first
        size = model.config.hidden_size // model.config.num_attention_heads // 2
        frequencies = _rotate(positions, size, model.config.initializer_range)
        offsets = PAST_OFFSETS if is_causal(model.config.model_type, model.config) else OFFSETS
        _look_at_neighbours(query, key, frequencies, offsets)


def bias_by_last_norm(words: Tensor, norm: nn.LayerNorm, bias: Tensor) -> None:
    """Add `bias` [V], up to a constant, to all logits of a fresh model whose output matrix is its word vectors [V, H].

    Each layer, and `norm` behind the last, first takes out the mean over the H dimensions. So what the dimensions of a
    word vector have in common changes nothing but the logits, where it meets what `norm` adds: with each word's mean
    set to bias / (H · NORM_BIAS) and the norm's own bias to NORM_BIAS, their product comes to the bias.
    """
    mean = (bias - bias.mean()) / (words.shape[1] * NORM_BIAS)
    words += mean[:, None].to(words) - words.mean(dim=1, keepdim=True)
    norm.bias.fill_(NORM_BIAS)


def _first_attention(backbone: nn.Module) -> tuple[Tensor, Tensor, Tensor] | None:
    """Learned positions [P, H] and the first layer's query and key matrices [H, H], rows by output; None without."""
    positions = getattr(getattr(backbone, "embeddings", None), "position_embeddings", None)
    layers = getattr(getattr(backbone, "encoder", None), "layer", None)
    if positions is not None and layers is not None and hasattr(layers[0].attention, "self"):
        attention = layers[0].attention.self
        return positions.weight, attention.query.weight, attention.key.weight
    if isinstance(backbone, GPT2Model):  # one matrix [H, 3 H] for query, key and value, columns by output
        query, key, _ = backbone.h[0].attn.c_attn.weight.T.chunk(3)
        return backbone.wpe.weight, query, key
    return None


def _rotate(positions: Tensor, size: int, deviation: float) -> Tensor:
    """Let the first 2K dimensions of `positions` [P, H] be K = `size` rotations; returns their frequencies [K]."""
    frequencies = FASTEST * (SLOWEST / FASTEST) ** (torch.arange(size) / (size - 1))
    angles = torch.arange(len(positions))[:, None] * frequencies
    positions.mul_(REST)
    rotations = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    positions[:, : 2 * size] = rotations * deviation * AMPLITUDE
    return frequencies


def _look_at_neighbours(query: Tensor, key: Tensor, frequencies: Tensor, offsets: tuple[int, ...]) -> None:
    """Add to each head's rows of `query` and `key` [H, H] what makes its logit Σ cos(w (distance − offset)).

    At the head's offset the sum comes to `SHARPNESS`.
    """
    width, size = len(query), len(frequencies)
    per_head = 2 * size
    # The layer norm behind the embeddings divides by the variance of words (1) and rotations (½ on 2K dimensions).
    power = AMPLITUDE**2 * width / (width + size * AMPLITUDE**2)
    scale = math.sqrt(SHARPNESS * math.sqrt(per_head) / (size * power))
    for head in range(width // per_head):
        angle = frequencies * offsets[head % len(offsets)]
        cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
        turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)
        rows = slice(head * per_head, (head + 1) * per_head)
        query[rows, :per_head] += scale * turned.reshape(per_head, per_head)
        key[rows, :per_head] += scale * torch.eye(per_head)
