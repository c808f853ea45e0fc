"""Opening a stored language model as what it says it is, and threads of a recipe that trains nothing."""

import pytest
import torch
from accelerate import PartialState
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, DataError
from hfrep.models.language_model import is_masked, open_language_model
from hfrep.models.presets import ModelSettings, build_model
from hfrep.training.launch import ThreadSettings, start_alone, usable_cores


@pytest.fixture
def encoder(wordpiece):
    return build_model(ModelSettings(model="bert-micro"), tokenizer=wordpiece, sequence_length=64)


@pytest.fixture
def decoder(bpe):
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(bpe), n_positions=128, n_embd=32, n_layer=1, n_head=2))


@pytest.mark.parametrize(("name", "masked"), [("encoder", True), ("decoder", False)])
def test_the_config_says_which(name, masked, request, wordpiece, bpe, tmp_path):
    """A saved model opens with its own class, and with its weights."""
    model = request.getfixturevalue(name)
    model.save_pretrained(tmp_path)
    opened = open_language_model(str(tmp_path), wordpiece if masked else bpe)
    assert type(opened) is type(model)
    assert is_masked(opened) is masked
    torch.testing.assert_close(opened.get_output_embeddings().weight, model.get_output_embeddings().weight)


def test_a_model_without_its_head_is_refused(encoder, wordpiece, tmp_path):
    """The library would draw the head at random, and the scores would be noise."""
    encoder.base_model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path)
    words = "expected a masked or a causal language model, saved with its head, found BertModel; give a model such as"
    with pytest.raises(ConfigError, match=words):
        open_language_model(str(tmp_path), wordpiece)


def test_other_kinds_of_models_are_refused(wordpiece, tmp_path):
    """An encoder-decoder scores no sentence by itself; a config may name no class at all."""
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    config = BartConfig(vocab_size=192, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, **shape)
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    with pytest.raises(ConfigError, match="found BartForConditionalGeneration"):
        open_language_model(str(tmp_path / "bart"), wordpiece)
    GPT2Config().save_pretrained(tmp_path / "nameless")
    with pytest.raises(ConfigError, match=r"found a config\.json that names no architectures"):
        open_language_model(str(tmp_path / "nameless"), wordpiece)


@pytest.mark.parametrize("name", ["./nowhere", "org/name"])
def test_a_model_that_is_not_there(name, wordpiece):
    """The sentence is that of the one place where stored models come from."""
    with pytest.raises(ConfigError, match="--model_name_or_path: expected a folder"):
        open_language_model(name, wordpiece)


def test_scoring_needs_no_pad_token(bpe, tmp_path):
    """GPT-2's tokenizer has none: refused for training, opened for scoring."""
    backend = Tokenizer.from_str(bpe.backend_tokenizer.to_str())
    backend.no_padding()  # which stays from whoever padded with it last, and names a token
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="</s>", eos_token="</s>").save_pretrained(tmp_path)
    with pytest.raises(DataError, match="a pad token of its own"):
        load_tokenizer(str(tmp_path))
    assert load_tokenizer(str(tmp_path), own_pad=False).bos_token == "</s>"


@pytest.mark.parametrize("threads", [None, 1])
def test_threads_of_a_recipe_that_trains_nothing(threads, monkeypatch):
    """All physical cores, or as many as were asked for, whatever the launcher set."""
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert start_alone(ThreadSettings(cpu_threads=threads)) == torch.device("cpu")
    assert given == [threads or usable_cores()]


def test_one_process_is_enough(monkeypatch):
    """Two would do the same work twice and write the same file."""
    monkeypatch.setattr(PartialState(), "num_processes", 2)  # its state is shared by all instances
    with pytest.raises(ConfigError, match="the launcher: expected one process, found 2; start it with python"):
        start_alone(ThreadSettings())


def test_no_threads_are_refused():
    """Zero threads are told."""
    with pytest.raises(ConfigError, match="cpu_threads: expected 1 or more, found 0; raise it"):
        ThreadSettings(cpu_threads=0)
