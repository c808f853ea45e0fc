"""Named shapes, fresh and stored models, live dropout, and the sentence for each mistake."""

import json
import re

import micros
import pytest
import torch
from micros import DECODERS, MICROS
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    GPT2Config,
    ModernBertConfig,
    OpenAIGPTConfig,
    PreTrainedTokenizerFast,
)

from hfrep.errors import ConfigError
from hfrep.models.presets import CausalModelSettings, MaskedModelSettings, ModelSettings, build_model, set_dropout
from hfrep.models.shapes import PRESETS, fits
from hfrep.settings import parse

INPUTS = {"input_ids": torch.arange(8, 40)[None]}

# Parameters of the published models with their own vocabulary, in millions.
PUBLISHED = {
    "bert-tiny": (30522, 4.4),
    "bert-mini": (30522, 11.2),
    "bert-small": (30522, 28.8),
    "bert-medium": (30522, 41.4),
    "bert-base": (30522, 109.5),
    "bert-large": (30522, 335.1),
    "roberta-base": (50265, 124.6),
    "modernbert-mini": (50368, 16.8),
    "modernbert-small": (50368, 31.9),
    "modernbert-base": (50368, 149.0),
    "gpt-1": (40478, 116.5),
    "gpt2-small": (50257, 124.4),
    "gpt2-medium": (50257, 354.8),
    "gpt2-large": (50257, 774.0),
    "gpt2-xl": (50257, 1557.6),
    "modernbert-decoder-mini": (50368, 16.8),
}


def build(tokenizer, *, sequence_length=64, seed=0, auto_class=None, **settings):
    torch.manual_seed(seed)
    auto_class = auto_class or (AutoModelForCausalLM if settings.get("model") in DECODERS else AutoModelForMaskedLM)
    return build_model(
        ModelSettings(**settings), tokenizer=tokenizer, sequence_length=sequence_length, auto_class=auto_class
    )


@pytest.fixture(scope="module")
def saved(wordpiece, tmp_path_factory):
    """A folder with bert-micro's weights."""
    folder = tmp_path_factory.mktemp("saved")
    build(wordpiece, model="bert-micro").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_the_published_size(name):
    """Backbone parameters, counted without allocating them, are those of the published model to half a percent."""
    vocabulary, millions = PUBLISHED[name]
    row = PRESETS[name] | {"vocab_size": vocabulary}
    if name == "roberta-base":
        row |= {"max_position_embeddings": 514}
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**row))
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(millions * 1e6, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "stock", "apart"),
    [
        ("bert-base", BertConfig(), set()),
        ("modernbert-base", ModernBertConfig(), {"classifier_pooling"}),
        ("gpt-1", OpenAIGPTConfig(), set()),
        ("gpt2-small", GPT2Config(), set()),
    ],
)
def test_base_sizes_are_the_class_defaults(name, stock, apart):
    """What the configuration classes default to is the published base model; ours differs in nothing unnamed."""
    ours, theirs = AutoConfig.for_model(**PRESETS[name]).to_dict(), stock.to_dict()
    assert {key for key in theirs if ours[key] != theirs[key]} == apart


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_its_tokenizer(name, wordpiece, bpe):
    """Vocabulary up to a multiple of 64, the tokenizer's special tokens where the class has them, sdpa, float32."""
    for tokenizer in (wordpiece, bpe):
        with torch.device("meta"):
            model = build(tokenizer, model=name, auto_class=micros.auto_class(name))
        config = model.config
        assert config.vocab_size % 64 == 0
        assert 0 <= config.vocab_size - len(tokenizer) < 64
        for token in ("pad", "bos", "eos", "cls", "sep"):
            if hasattr(config, f"{token}_token_id"):
                stand_in = {"bos": tokenizer.cls_token_id, "eos": tokenizer.sep_token_id}.get(token)
                own = getattr(tokenizer, f"{token}_token_id")
                decoder = fits(name, AutoModelForCausalLM)
                assert getattr(config, f"{token}_token_id") == (stand_in if own is None and decoder else own)
        attention = "eager" if name.startswith("gpt-1") else "sdpa"
        assert (config._attn_implementation, model.dtype) == (attention, torch.float32)
        assert type(model).__name__.endswith(("ForMaskedLM", "ForCausalLM", "LMHeadModel"))


def test_roberta_has_512_positions_for_any_padding_token(wordpiece):
    """RoBERTa counts from padding_idx + 1; the table grows with the id so that 512 tokens fit and 513 do not."""
    model = build(wordpiece, model="roberta-micro", sequence_length=512).eval()
    assert model.config.max_position_embeddings == 512 + wordpiece.pad_token_id + 1
    ids = torch.full((1, 512), wordpiece.mask_token_id)
    assert model(input_ids=ids).logits.isfinite().all()
    with pytest.raises(ConfigError, match="at most the 512 positions that roberta-micro has, found 513"):
        build(wordpiece, model="roberta-micro", sequence_length=513)


def test_seed_decides_the_weights(wordpiece):
    """The same seed gives the same weights, another gives others."""
    one, same, other = (build(wordpiece, model="bert-micro", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


ATTENTION = {
    "BertSelfAttention",
    "RobertaSelfAttention",
    "ModernBertAttention",
    "Attention",
    "GPT2Attention",
    "LlamaAttention",
    "Qwen3Attention",
    "ModernBertDecoderAttention",
}


@pytest.mark.parametrize("name", MICROS)
def test_dropout_zero_makes_training_deterministic(name, wordpiece, tmp_path):
    """With dropout 0, the default, train mode computes what eval mode computes, whatever shares the config has."""
    config = build(wordpiece, model=name).config
    shares = {key: 0.5 for key, value in config.to_dict().items() if "drop" in key and value is not None}
    assert shares
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | shares))
    model = build(wordpiece, model=str(tmp_path), auto_class=micros.auto_class(name))
    assert all(getattr(model.config, key) == 0.5 for key in shares)
    trained, evaluated = model.train()(**INPUTS).logits, model.eval()(**INPUTS).logits
    assert torch.equal(trained, evaluated)


@pytest.mark.parametrize("name", MICROS)
def test_dropout_reaches_the_live_modules(name, wordpiece):
    """With --dropout 0.5 two forwards in train mode differ, and attention alone drops too."""
    model = build(wordpiece, model=name, dropout=0.5).train()
    assert not torch.equal(model(**INPUTS).logits, model(**INPUTS).logits)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            assert module.p == 0.5
    attention = [module for module in model.modules() if type(module).__name__ in ATTENTION]
    assert len(attention) == 2
    set_dropout(model, 0.0)
    for module in attention:
        set_dropout(module, 0.5)
    assert not torch.equal(model(**INPUTS).logits, model(**INPUTS).logits)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_saved_config_keeps_the_published_dropout(dropout, wordpiece, tmp_path):
    """Who fine-tunes the model gets BERT's 0.1, whatever pretraining used."""
    build(wordpiece, model="bert-micro", dropout=dropout).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.1, 0.1)
    again = build(wordpiece, model_name_or_path=str(tmp_path)).train()
    assert torch.equal(again(**INPUTS).logits, again(**INPUTS).logits)


def test_stored_weights_come_back(wordpiece, saved, capfd):
    """A folder gives its weights, in float32, without a word from the library."""
    expected = build(wordpiece, model="bert-micro")
    capfd.readouterr()
    model = build(wordpiece, model_name_or_path=str(saved), seed=5)
    assert capfd.readouterr() == ("", "")
    assert model.dtype == torch.float32
    for name, weights in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], weights)


def test_stored_weights_without_head_get_a_fresh_one(wordpiece, saved, tmp_path, capfd):
    """A bare backbone can be trained on, and the library's load report stays away."""
    AutoModel.from_pretrained(saved, add_pooling_layer=False).save_pretrained(tmp_path)
    capfd.readouterr()
    model = build(wordpiece, model_name_or_path=str(tmp_path))
    assert capfd.readouterr() == ("", "")
    reference = build(wordpiece, model_name_or_path=str(saved))
    assert torch.equal(model.base_model(**INPUTS)[0], reference.base_model(**INPUTS)[0])


@pytest.mark.parametrize("as_folder", [True, False])
def test_config_file_gives_fresh_weights(as_folder, wordpiece, saved):
    """A config.json, or the folder it is in, means its shape and the seed's weights."""
    path = saved if as_folder else saved / "config.json"
    model, preset = build(wordpiece, model=str(path)), build(wordpiece, model="bert-micro")
    assert model.config.to_diff_dict() | {"architectures": None} == preset.config.to_diff_dict() | {
        "architectures": None
    }
    assert all(torch.equal(preset.state_dict()[name], weights) for name, weights in model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "the model: expected exactly one of --model and --model_name_or_path, found neither"),
        ({"model": "bert-mini", "model_name_or_path": "x"}, "found both (bert-mini and x); give --model for fresh"),
        ({"model": "bert-minni"}, "found 'bert-minni'; did you mean bert-mini?"),
        ({"model": "here/config.json"}, "--model: expected a config.json, found no file here/config.json"),
        ({"model_name_or_path": "./nope"}, "with a model, or a Hub id, found no folder ./nope; correct the path"),
        ({"model_name_or_path": "nowhere/mlm/model"}, "found 'nowhere/mlm/model', which is no folder here and not in"),
        (
            {"model_name_or_path": "someone/something"},
            "a Hub id that can be fetched or is in the cache, found 'someone/something', which is no folder here and "
            "not in the cache, and the Hub out of reach",
        ),
        ({"model": "bert-micro", "sequence_length": 1024}, "at most the 512 positions that bert-micro has, found 1024"),
    ],
)
def test_wrong_sources_get_one_sentence(settings, sentence, wordpiece, monkeypatch):
    """No source or two, unknown names, missing paths, a Hub id offline, rows that are too long."""
    monkeypatch.setattr("hfrep.fetching.hub_reachable", lambda: False)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        build(wordpiece, **settings)


BERT = {"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{oops", "config.json: expected JSON, found Expecting property name"),
        ("[]", "expected a `model_type` that transformers has a class for, found none"),
        (json.dumps({"model_type": "bertt"}), "found 'bertt'; take the config.json of a stock model"),
        (json.dumps(BERT | {"hidden_size": "wide"}), "Field 'hidden_size' expected int, got str (value: 'wide')"),
        (json.dumps(BERT | {"hidden_size": 65}), "hidden size (65) is not a multiple of the number of attention heads"),
        (json.dumps({"model_type": "gpt2"}), "expected a configuration that AutoModelForMaskedLM can build"),
        (json.dumps(BERT | {"vocab_size": 50}), "expected at most the 50 tokens that"),
    ],
)
def test_wrong_config_file_gets_one_sentence(content, sentence, wordpiece, tmp_path):
    """Not JSON, no or an unknown type, values the class refuses, too small a vocabulary."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        build(wordpiece, model=str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("name", "auto_class", "sentence"),
    [
        (
            "bert-mini",
            AutoModelForCausalLM,
            "--model bert-mini: expected a model for AutoModelForCausalLM: gpt-1, gpt2-mini, gpt2-small, gpt2-medium, "
            "gpt2-large, gpt2-xl, llama-mini, llama-small, qwen3-mini, modernbert-decoder-mini, found an encoder; give "
            "one of these, or one of gpt2, llama, qwen3, modernbert-decoder with --parameters.",
        ),
        (
            "gpt2-mini",
            AutoModelForMaskedLM,
            "--model gpt2-mini: expected a model for AutoModelForMaskedLM: bert-tiny, bert-mini, bert-small, "
            "bert-medium, bert-base, bert-large, roberta-base, modernbert-tiny, modernbert-mini, modernbert-small, "
            "modernbert-base, found a decoder; give one of these, or one of bert, roberta, modernbert with "
            "--parameters.",
        ),
    ],
)
def test_presets_of_the_wrong_kind_are_refused(name, auto_class, sentence, bpe):
    """An encoder to a causal recipe and the reverse get the list of what fits, when named and when built."""
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        build(bpe, model=name, auto_class=auto_class)
    kind = CausalModelSettings if auto_class is AutoModelForCausalLM else MaskedModelSettings
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        parse(kind, argv=["--model", name])


def test_help_lists_what_fits(capsys):
    """--help of a causal recipe names decoders only, and no preset that is for tests."""
    with pytest.raises(SystemExit):
        parse(CausalModelSettings, argv=["--help"])
    printed = capsys.readouterr().out
    assert "gpt2-mini" in printed
    assert "bert-mini" not in printed
    assert "micro" not in printed


def test_encoders_do_not_become_decoders(wordpiece, saved):
    """Weights or a config.json of BERT under a causal head would look ahead; is_decoder makes one of the latter."""
    for source in ({"model": str(saved)}, {"model_name_or_path": str(saved)}):
        with pytest.raises(
            ConfigError, match=r"one that sees the past only.* found .*, an encoder .bert.; take a deco"
        ):
            build(wordpiece, auto_class=AutoModelForCausalLM, **source)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_learn_to_end(name, bpe, wordpiece):
    """The end token of config and generation is the tokenizer's, and padding is another; encoders' tokenizers serve."""
    for tokenizer in (bpe, wordpiece):
        model = build(tokenizer, model=name)
        for config in (model.config, model.generation_config):
            assert config.eos_token_id == tokenizer.sep_token_id
            assert config.bos_token_id == tokenizer.cls_token_id
            assert config.pad_token_id == tokenizer.pad_token_id != config.eos_token_id


@pytest.mark.parametrize(
    ("special", "found"),
    [
        ({"pad_token": "</s>", "eos_token": "</s>"}, "found the pad token '</s>', which also ends a document"),
        ({"pad_token": "<pad>"}, "found no token that ends a document"),
        ({"eos_token": "</s>"}, "found no pad token"),
    ],
)
def test_tokenizers_that_cannot_end_are_refused(special, found, bpe):
    """Pad that is eos, no eos, no pad: a decoder would never learn to stop."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, **special)
    with pytest.raises(ConfigError, match=found):
        build(tokenizer, model="gpt2-micro")


@pytest.mark.parametrize("name", ["llama-micro", "llama-mini", "llama-small", "qwen3-micro", "qwen3-mini"])
def test_modern_decoders_have_grouped_heads(name, bpe):
    """Two query heads share a key head, heads are width / heads wide, and the output matrix is the word vectors."""
    with torch.device("meta"):
        model = build(bpe, model=name, auto_class=AutoModelForCausalLM)
    config = model.config
    assert 2 * config.num_key_value_heads == config.num_attention_heads
    assert config.head_dim * config.num_attention_heads == config.hidden_size
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_wrong_folder_gets_one_sentence(wordpiece, saved, tmp_path):
    """A folder without config (with the one meant, if it is inside), a broken config, broken or missing weights."""
    weights, config = (saved / "model.safetensors").read_bytes(), json.loads((saved / "config.json").read_text())

    def refused(sentence):
        with pytest.raises(ConfigError, match=re.escape(sentence)):
            build(wordpiece, model_name_or_path=str(tmp_path))

    refused(f"expected a folder with a config.json, found none in {tmp_path}; give the folder that save_pretrained")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    refused(f"found none in {tmp_path}; give {tmp_path}/model.")
    (tmp_path / "config.json").write_text("{oops")
    refused("config.json: expected JSON, found Expecting property name")
    (tmp_path / "config.json").write_text("{}")
    refused("expected weights that AutoModelForMaskedLM opens, found Unrecognized model")
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused("expected a model that can be read, found Error no file named model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(weights[:5000])
    refused("expected weights that AutoModelForMaskedLM opens, found Error while deserializing header")
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused("expected weights for all of BertForMaskedLM but its head, found 16 tensors missing or of another shape")
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))
    refused("found 6 tensors missing or of another shape")


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_out_of_range_is_refused(dropout):
    """All or less than nothing cannot be dropped."""
    with pytest.raises(ConfigError, match=f"--dropout: expected a share in .0, 1., found {dropout}"):
        ModelSettings(model="bert-micro", dropout=dropout)
