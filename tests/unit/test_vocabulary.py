"""A stored model's embeddings and a tokenizer: which sizes go together, and what --resize_embeddings does to others."""

import re

import micros
import pytest
import torch
from micros import MICROS
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast

from hfrep.errors import ConfigError
from hfrep.models.presets import ModelSettings, build_model


class Sized:
    """A tokenizer of any size: the ids of another's special tokens."""

    def __init__(self, tokenizer, size):
        self._tokenizer, self._size = tokenizer, size

    def __len__(self):
        return self._size

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)


def store(folder, name, tokenizer):
    model = micros.micro(name, tokenizer)
    model.save_pretrained(folder)
    return model


def go_on(folder, tokenizer, auto_class=AutoModelForCausalLM, **settings):
    torch.manual_seed(1)
    return build_model(
        ModelSettings(model_name_or_path=str(folder), **settings),
        tokenizer=tokenizer,
        sequence_length=32,
        auto_class=auto_class,
    )


@pytest.mark.parametrize("size", [320, 319, 257])
def test_padding_of_the_vocabulary_is_not_another_size(size, bpe, tmp_path):
    """Up to 63 rows without a token are padding: such a model is loaded as it is, with or without the flag."""
    stored = store(tmp_path, "gpt2-micro", bpe)
    assert stored.config.vocab_size == 320
    for resize in (False, True):
        model = go_on(tmp_path, Sized(bpe, size), resize_embeddings=resize)
        assert torch.equal(model.lm_head.weight, stored.lm_head.weight)


@pytest.mark.parametrize("size", [321, 256, 100])
def test_another_size_is_refused_with_both_sizes(size, bpe, tmp_path):
    """One token too many, or 64 too few, and the rows are words of another tokenizer."""
    store(tmp_path, "gpt2-micro", bpe)
    sentence = (
        f"the tokenizer: expected one for the 320 rows that the embeddings of {tmp_path} have (up to 63 may be spare), "
        f"found {size} tokens; give the tokenizer the model was made with, or --resize_embeddings."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        go_on(tmp_path, Sized(bpe, size))


def test_large_vocabularies_may_have_more_room(bpe, tmp_path):
    """A 200th of the rows may be spare: Qwen3 with its own tokenizer has 267 of 151,936."""
    store(tmp_path, "llama-micro", Sized(bpe, 151_936))
    assert go_on(tmp_path, Sized(bpe, 151_669)).config.vocab_size == 151_936
    with pytest.raises(ConfigError, match=r"the 151,936 rows .* .up to 759 may be spare., found 151,176 tokens"):
        go_on(tmp_path, Sized(bpe, 151_176))


@pytest.mark.parametrize("size", [100, 500])
@pytest.mark.parametrize("name", MICROS)
def test_resizing(name, size, bpe, tmp_path):
    """Rows are kept by id, cut or added to a multiple of 64; heads, biases and ties follow; the model saves."""
    auto_class = micros.auto_class(name)
    stored = store(tmp_path / "stored", name, bpe)
    model = go_on(tmp_path / "stored", Sized(bpe, size), auto_class, resize_embeddings=True)
    rows = -(-size // 64) * 64
    kept = min(rows, 320)
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert model.config.vocab_size == embeddings.num_embeddings == len(embeddings.weight) == rows
    assert torch.equal(embeddings.weight[:kept], stored.get_input_embeddings().weight[:kept])
    assert head.weight is embeddings.weight
    assert head.bias is None or head.bias.shape == (rows,)
    input_ids = torch.arange(8, 40)[None]
    assert model.eval()(input_ids=input_ids).logits.shape == (1, 32, rows)
    model.save_pretrained(tmp_path / "again")
    again = auto_class.from_pretrained(tmp_path / "again").eval()
    assert torch.equal(again(input_ids=input_ids).logits, model(input_ids=input_ids).logits)


def test_resizing_is_reproducible(bpe, tmp_path):
    """The seed decides the new rows, which stand near the mean of the old ones and are not all alike."""
    stored = store(tmp_path, "gpt2-micro", bpe)
    one, two = (go_on(tmp_path, Sized(bpe, 500), resize_embeddings=True).lm_head.weight for _ in range(2))
    assert torch.equal(one, two)
    old, new = stored.lm_head.weight, one[320:]
    assert (new - old.mean(dim=0)).abs().max() < old.std() / 2
    assert len(new.unique(dim=0)) == len(new)


def test_resized_models_take_the_special_tokens(bpe, wordpiece, tmp_path):
    """Ids of the old tokenizer are other words now: config, generation and the row without gradient change."""
    store(tmp_path, "llama-micro", bpe)
    assert bpe.pad_token_id != wordpiece.pad_token_id
    model = go_on(tmp_path, wordpiece, resize_embeddings=True)
    for config in (model.config, model.generation_config):
        assert config.pad_token_id == wordpiece.pad_token_id
        assert (config.bos_token_id, config.eos_token_id) == (wordpiece.cls_token_id, wordpiece.sep_token_id)
    assert model.get_input_embeddings().padding_idx == wordpiece.pad_token_id


def test_positions_that_count_from_padding_are_not_shifted(bpe, wordpiece, tmp_path):
    """RoBERTa's positions start behind the pad id; a tokenizer with another one is refused."""
    store(tmp_path, "roberta-micro", bpe)
    sentence = f"expected a tokenizer with the pad id of {tmp_path}, {bpe.pad_token_id}, from which its positions count"
    with pytest.raises(ConfigError, match=re.escape(sentence) + f", found {wordpiece.pad_token_id};"):
        go_on(tmp_path, wordpiece, AutoModelForMaskedLM, resize_embeddings=True)


def test_gpt2_s_own_tokenizer_with_a_pad_token_needs_resizing(bpe, tmp_path):
    """50,257 rows and a tokenizer with one token more, its new pad: refused, and mended by the flag."""
    store(tmp_path, "gpt2-micro", Sized(bpe, 50_240))
    tokenizer = Sized(
        PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, eos_token="</s>", pad_token="<pad>"), 50_241
    )
    with pytest.raises(ConfigError, match="--resize_embeddings"):
        go_on(tmp_path, tokenizer)
    assert go_on(tmp_path, tokenizer, resize_embeddings=True).config.vocab_size == 50_304


def test_fresh_models_are_not_resized():
    """The flag without weights to go on from is a mistake."""
    with pytest.raises(
        ConfigError, match=r"--resize_embeddings: expected weights to go on from .* found --model gpt2-mini"
    ):
        ModelSettings(model="gpt2-mini", resize_embeddings=True)
    with pytest.raises(ConfigError, match="--resize_embeddings: expected weights to go on from"):
        ModelSettings(resize_embeddings=True).or_default("gpt2-mini")
