"""Named shapes of stock architectures: presets of one size, and families whose size is a dial.

Shapes are the published ones where there are such: BERT base and large (Devlin et al. 2019), the miniatures tiny to
medium (Turc et al. 2019, "Well-read students learn better"), RoBERTa base (Liu et al. 2019), ModernBERT base (Warner et
al. 2024), GPT (Radford et al. 2018, section 4.1), GPT-2 small to xl (Radford et al. 2019, table 2). ModernBERT mini and
small and the decoder of the same recipe have the shapes of Ettin 17M and 32M (Weller et al. 2025). The other small ones
are ours: Llama (Touvron et al. 2023) and Qwen3 (Yang et al. 2025) are published in larger sizes only; two heads share
keys and values, and the word vectors are also the output matrix, as in the smallest published ones. The ``micro`` sizes
are for tests. What a row leaves out is the default of the configuration class, dropout included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hfrep.models.isolation import is_causal

Row = dict[str, Any]

HEAD_SIZE = 64  # of the families


def _bert(layers: int, width: int, heads: int) -> Row:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
    }


def _roberta(layers: int, width: int, heads: int) -> Row:
    return _bert(layers, width, heads) | {"model_type": "roberta", "type_vocab_size": 1, "layer_norm_eps": 1e-5}


def _modernbert(layers: int, width: int, heads: int, window: int = 128) -> Row:
    return {
        "model_type": "modernbert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 3 * width // 2,
        "local_attention": window,
        "max_position_embeddings": 8192,
        "classifier_pooling": "mean",
    }


def _modernbert_decoder(layers: int, width: int, heads: int, window: int = 128) -> Row:
    row = _modernbert(layers, width, heads, window) | {"model_type": "modernbert-decoder"}
    del row["classifier_pooling"]
    return row


def _gpt1(layers: int, width: int, heads: int) -> Row:
    return {"model_type": "openai-gpt", "n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": 512}


def _gpt2(layers: int, width: int, heads: int) -> Row:
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": 1024}


def _llama(layers: int, width: int, heads: int) -> Row:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        # Three matrices in place of two: two thirds of 4 · width (Touvron et al. 2023, section 2.2), up to a multiple.
        "intermediate_size": -(-8 * width // 3 // HEAD_SIZE) * HEAD_SIZE,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }


def _qwen3(layers: int, width: int, heads: int) -> Row:
    return _llama(layers, width, heads) | {
        "model_type": "qwen3",
        "head_dim": width // heads,
        "intermediate_size": 3 * width,
        "max_position_embeddings": 32768,
    }


# name → arguments of the configuration class; `max_position_embeddings` counts the tokens a document may have.
PRESETS: dict[str, Row] = {
    "bert-micro": _bert(2, 64, 2),
    "bert-tiny": _bert(2, 128, 2),
    "bert-mini": _bert(4, 256, 4),
    "bert-small": _bert(4, 512, 8),
    "bert-medium": _bert(8, 512, 8),
    "bert-base": _bert(12, 768, 12),
    "bert-large": _bert(24, 1024, 16),
    "roberta-micro": _roberta(2, 64, 2),
    "roberta-base": _roberta(12, 768, 12),
    "modernbert-micro": _modernbert(2, 64, 2, window=16),
    "modernbert-tiny": _modernbert(4, 128, 2),
    "modernbert-mini": _modernbert(7, 256, 4),
    "modernbert-small": _modernbert(10, 384, 6),
    "modernbert-base": _modernbert(22, 768, 12),
    "gpt-1-micro": _gpt1(2, 64, 2),
    "gpt-1": _gpt1(12, 768, 12),
    "gpt2-micro": _gpt2(2, 64, 2),
    "gpt2-mini": _gpt2(4, 256, 4),
    "gpt2-small": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "llama-micro": _llama(2, 64, 2),
    "llama-mini": _llama(4, 256, 4),
    "llama-small": _llama(12, 768, 12),
    "qwen3-micro": _qwen3(2, 64, 2),
    "qwen3-mini": _qwen3(4, 256, 4),
    "modernbert-decoder-micro": _modernbert_decoder(2, 64, 2, window=16),
    "modernbert-decoder-mini": _modernbert_decoder(7, 256, 4),
}


@dataclass(frozen=True)
class Family:
    """An architecture of any size.

    Attributes:
        row: (layers, width, heads) → arguments of the configuration class.
        heads_step: heads come in multiples of this.
    """

    row: Callable[[int, int, int], Row]
    heads_step: int = 1


FAMILIES: dict[str, Family] = {
    "bert": Family(_bert),
    "roberta": Family(_roberta),
    "modernbert": Family(_modernbert),
    "gpt2": Family(_gpt2),
    "llama": Family(_llama, heads_step=2),
    "qwen3": Family(_qwen3, heads_step=2),
    "modernbert-decoder": Family(_modernbert_decoder),
}


def fits(name: str, auto_class: type | None) -> bool:
    """Whether the preset or family `name` is what `auto_class` is for: a decoder, an encoder, or either."""
    row = PRESETS[name] if name in PRESETS else FAMILIES[name].row(2, 2 * HEAD_SIZE, 2)
    causal = is_causal(row["model_type"])
    if auto_class is AutoModelForCausalLM:
        return causal
    return not causal if auto_class is AutoModelForMaskedLM else True


def fitting(auto_class: type | None) -> tuple[list[str], list[str]]:
    """The presets (those for tests left out) and the families that `auto_class` is for."""
    presets = [name for name in PRESETS if not name.endswith("-micro") and fits(name, auto_class)]
    return presets, [name for name in FAMILIES if fits(name, auto_class)]


def example(family: str) -> str:
    """A preset of `family`."""
    return next(name for name in PRESETS if name.startswith(family) and not name.endswith("-micro"))
