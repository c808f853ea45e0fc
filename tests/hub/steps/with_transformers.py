"""The ``transformers`` library."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
)

from hub.client import LocalHub

torch.set_num_threads(1)


def _model(seed: int) -> BertForMaskedLM:
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForMaskedLM(BertConfig(vocab_size=64, max_position_embeddings=32, **shape))


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def pushed(hub: LocalHub, folder: Path) -> None:
    """Models of two revisions come back, each as it was."""
    first, second = _model(1), _model(2)
    first.push_to_hub("me/bert", commit_message="First")
    sha = hub.commits("me/bert")[0]["id"]
    second.push_to_hub("me/bert", revision="steps/200")
    assert {"config.json", "model.safetensors"} <= set(hub.files("me/bert", "steps/200"))
    assert _same(AutoModelForMaskedLM.from_pretrained("me/bert"), first)
    assert _same(AutoModelForMaskedLM.from_pretrained("me/bert", revision="steps/200"), second)
    assert _same(AutoModelForMaskedLM.from_pretrained("me/bert", revision=sha), first)
    with pytest.raises(OSError, match="not a valid git identifier"):
        AutoModel.from_pretrained("me/bert", revision="missing")
    with pytest.raises(OSError, match="not a valid model identifier"):
        AutoModel.from_pretrained("me/missing")


def shards(hub: LocalHub, folder: Path) -> None:
    """A model in several files comes back whole."""
    model = _model(3)
    model.push_to_hub("me/shards", max_shard_size="10KB", private=True)
    assert sum(path.endswith(".safetensors") for path in hub.files("me/shards")) > 1
    assert _same(AutoModelForMaskedLM.from_pretrained("me/shards"), model)


def tokenizers(hub: LocalHub, folder: Path) -> None:
    """A tokenizer comes back."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").push_to_hub("me/tokenizer")
    assert AutoTokenizer.from_pretrained("me/tokenizer")("two one three")["input_ids"] == [2, 1, 0]
