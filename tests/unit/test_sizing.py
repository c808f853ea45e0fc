"""The size dial: what it reads, what it picks, what it says, and where it ends."""

import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hfrep.errors import ConfigError
from hfrep.models import fresh
from hfrep.models.presets import CausalModelSettings, MaskedModelSettings, ModelSettings, build_model
from hfrep.models.shapes import FAMILIES, fits
from hfrep.models.sizing import RATIOS, choose_shape, parse_parameters


def gpt2_parameters(vocabulary):
    """GPT-2's parameters by hand: embeddings, positions, per layer 12 w² + 13 w, and the last norm."""
    return lambda layers, width, heads: (vocabulary + 1024) * width + layers * (12 * width**2 + 13 * width) + 2 * width


def sized(family, parameters, tokenizer):
    auto_class = AutoModelForCausalLM if fits(family, AutoModelForCausalLM) else AutoModelForMaskedLM
    settings = ModelSettings(model=family, parameters=parameters)
    with torch.device("meta"):
        return settings, build_model(settings, tokenizer=tokenizer, sequence_length=512, auto_class=auto_class)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10M", 10**7),
        ("10m", 10**7),
        ("1.5B", 1_500_000_000),
        ("350K", 350_000),
        ("10_000_000", 10**7),
        ("10000000", 10**7),
        ("8e6", 8_000_000),
        ("1.5e+6", 1_500_000),
        (" 8M ", 8_000_000),
    ],
)
def test_ways_to_write_a_size(text, number):
    """Units, underscores and exponents."""
    assert parse_parameters(text) == number


@pytest.mark.parametrize("text", ["", "big", "10 M", "-3M", "0", "M", "1.5T", "1e999", "nan", "10,000,000"])
def test_other_sizes_are_refused(text):
    """What is no number of parameters, as soon as it is given."""
    sentence = "--parameters: expected a number of parameters such as 10M, 1.5B, 10_000_000 or 8e6"
    with pytest.raises(ConfigError, match=re.escape(f"{sentence}, found {text!r}; correct it.")):
        ModelSettings(model="gpt2", parameters=text)


def test_published_sizes_give_published_shapes():
    """124 million with GPT-2's vocabulary are GPT-2 small's 12 layers of 768."""
    shape = choose_shape("gpt2", 124_439_808, gpt2_parameters(50257))
    assert (shape.layers, shape.width, shape.heads, shape.parameters) == (12, 768, 12, 124_439_808)


@pytest.mark.parametrize("wanted", [2e6, 5e6, 8e6, 10e6, 35e6, 100e6, 1e9])
def test_shapes_are_near_and_of_sensible_ratio(wanted):
    """Within 10 % from 2M on, heads of 64, width 32 to 128 times the depth."""
    shape = choose_shape("gpt2", int(wanted), gpt2_parameters(8192))
    assert shape.parameters == gpt2_parameters(8192)(shape.layers, shape.width, shape.heads)
    assert shape.parameters == pytest.approx(wanted, rel=0.1)
    assert shape.width == 64 * shape.heads
    assert RATIOS[0] <= shape.ratio <= RATIOS[1]


def test_without_a_close_shape_the_nearest_is_taken():
    """Between the two smallest widths there is a gap; each side of its middle goes its own way."""
    count = gpt2_parameters(8192)
    narrow, wide = count(2, 64, 1), count(2, 128, 2)
    assert choose_shape("gpt2", narrow + (wide - narrow) // 3, count).width == 64
    assert choose_shape("gpt2", wide - (wide - narrow) // 3, count).width == 128


def test_sizes_out_of_range_are_refused():
    """The sentence names the smallest or the largest."""
    count = gpt2_parameters(8192)
    smallest = f"--parameters: expected at least the {count(2, 64, 1):,} parameters of gpt2 with 2 layers of width 64"
    with pytest.raises(ConfigError, match=re.escape(smallest) + ".*found 500,000; ask for more, or take a smaller"):
        choose_shape("gpt2", 500_000, count)
    largest = f"at most the {count(64, 2048, 32):,} parameters of gpt2 with 64 layers of width 2048 and this tokenizer"
    with pytest.raises(ConfigError, match=re.escape(largest) + ".*found 9,000,000,000; ask for less"):
        choose_shape("gpt2", 9 * 10**9, count)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_size_it_says(family, bpe):
    """The real model of each family: near what was asked, its own parameters counted once, told with its shape."""
    settings, model = sized(family, "6M", bpe)
    config, parameters = model.config, sum(parameter.numel() for parameter in model.parameters())
    assert parameters == pytest.approx(6e6, rel=0.1)
    assert config.hidden_size == 64 * config.num_attention_heads
    assert settings.describe(model) == (
        f"{family} of 6M: {type(model).__name__}, layers {config.num_hidden_layers}, width {config.hidden_size}, heads "
        f"{config.num_attention_heads}, {parameters:,} parameters, vocabulary 320"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_counting_two_depths_tells_all(family, bpe, monkeypatch):
    """The deep model that is built has the very number of parameters that two shallow ones said it would have."""
    chosen = []
    monkeypatch.setattr(
        fresh, "choose_shape", lambda *given, **more: chosen.append(choose_shape(*given, **more)) or chosen[0]
    )
    _, model = sized(family, "40M", bpe)
    assert chosen[0].layers > 3
    assert chosen[0].parameters == sum(parameter.numel() for parameter in model.parameters())


def test_vocabulary_counts(bpe, wordpiece):
    """The same size with another tokenizer is another shape or another number."""
    small, large = (sized("gpt2", "2M", tokenizer)[1] for tokenizer in (wordpiece, bpe))
    assert small.config.vocab_size != large.config.vocab_size
    assert sum(p.numel() for p in small.parameters()) != sum(p.numel() for p in large.parameters())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"model": "gpt2"},
            "--model gpt2: expected a size with the name of a family, found no --parameters; add --parameters 10M, or "
            "give a preset such as gpt2-mini.",
        ),
        (
            {"model": "gpt2-mini", "parameters": "10M"},
            "--parameters: expected a family as --model (bert, roberta, modernbert, gpt2, llama, qwen3, "
            "modernbert-decoder), found gpt2-mini, which has a size of its own; name a family, or leave --parameters "
            "out.",
        ),
        (
            {"model_name_or_path": "runs/clm/model", "parameters": "10M"},
            "found runs/clm/model, which has a size of its",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings, sentence):
    """A family without a size, a size without a family."""
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        ModelSettings(**settings)


def test_families_of_the_wrong_kind_are_refused():
    """As presets are."""
    with pytest.raises(
        ConfigError, match=r"--model bert: expected a model for AutoModelForCausalLM: gpt-1, .* an encoder"
    ):
        CausalModelSettings(model="bert", parameters="10M")
    with pytest.raises(
        ConfigError, match=r"--model llama: expected a model for AutoModelForMaskedLM: .* found a decoder"
    ):
        MaskedModelSettings(model="llama", parameters="10M")


def test_a_size_alone_means_the_default_s_family():
    """--parameters without --model sizes the recipe's own family."""
    assert ModelSettings(parameters="10M").or_default("gpt2-mini").model == "gpt2"
    assert ModelSettings().or_default("gpt2-mini").model == "gpt2-mini"
    assert ModelSettings(model="llama", parameters="10M").or_default("gpt2-mini").model == "llama"
