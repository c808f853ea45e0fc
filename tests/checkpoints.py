"""Pretrained models of the stock kinds, tiny and untrained: what tests of adaptation go on from."""

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    RobertaConfig,
)

from hfrep.card import Card

WIDTH, LAYERS, HEADS = 16, 2, 2
BODY = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
KINDS = {
    "bert": (BertConfig, BODY),
    "roberta": (RobertaConfig, BODY),
    "modernbert": (ModernBertConfig, BODY),
    "distilbert": (DistilBertConfig, {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 2 * WIDTH}),
    "gpt2": (GPT2Config, {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 64}),
    "llama": (LlamaConfig, BODY | {"num_key_value_heads": 1, "tie_word_embeddings": True}),
}
DECODERS = ("gpt2", "llama")
CARD = Card(
    title="An adapter",
    summary="For tests.",
    library_name="peft",
    pipeline_tag="text-classification",
    tags=["hfrep"],
    usages=[],
    limits="None.",
)


def checkpoint(kind, tokenizer, folder, **changes):
    """Save a language model of `kind` with its tokenizer; `changes` are of its configuration. Returns the folder."""
    config_class, shape = KINDS[kind]
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    ids |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    auto_class = AutoModelForCausalLM if kind in DECODERS else AutoModelForMaskedLM
    torch.manual_seed(0)
    model = auto_class.from_config(config_class(vocab_size=len(tokenizer), **{**shape, **ids, **changes}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
