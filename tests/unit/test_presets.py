"""Named shapes, fresh and stored models, live dropout, and the sentence for each mistake."""

import json
import re

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, ModernBertConfig

from hfrep.errors import ConfigError
from hfrep.models.presets import PRESETS, ModelSettings, build_model, set_dropout

MICROS = ["bert-micro", "roberta-micro", "modernbert-micro"]
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
}


def build(tokenizer, *, sequence_length=64, seed=0, **settings):
    torch.manual_seed(seed)
    return build_model(ModelSettings(**settings), tokenizer=tokenizer, sequence_length=sequence_length)


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
    [("bert-base", BertConfig(), set()), ("modernbert-base", ModernBertConfig(), {"classifier_pooling"})],
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
            model = build(tokenizer, model=name)
        config = model.config
        assert config.vocab_size % 64 == 0
        assert 0 <= config.vocab_size - len(tokenizer) < 64
        for token in ("pad", "bos", "eos", "cls", "sep"):
            if hasattr(config, f"{token}_token_id"):
                assert getattr(config, f"{token}_token_id") == getattr(tokenizer, f"{token}_token_id")
        assert (config._attn_implementation, model.dtype) == ("sdpa", torch.float32)
        assert type(model).__name__.endswith("ForMaskedLM")


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


@pytest.mark.parametrize("name", MICROS)
def test_dropout_zero_makes_training_deterministic(name, wordpiece):
    """With dropout 0, the default, train mode computes what eval mode computes, to the bit."""
    model = build(wordpiece, model=name)
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
    attention = [
        module
        for module in model.modules()
        if type(module).__name__ in {"BertSelfAttention", "RobertaSelfAttention", "ModernBertAttention"}
    ]
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
        ({"model_name_or_path": "./nope"}, "expected a folder with a model, found no folder ./nope; correct the path"),
        ({"model_name_or_path": "nowhere/mlm/model"}, "found no folder nowhere/mlm/model"),
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
    monkeypatch.setattr("hfrep.models.presets.hub_reachable", lambda: False)
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


def test_tokenizer_larger_than_the_stored_model_is_refused(bpe, saved):
    """Both sizes are named."""
    sentence = f"the tokenizer: expected at most the 192 tokens that {saved} has, found {len(bpe)} tokens"
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        build(bpe, model_name_or_path=str(saved))


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
