"""Writing with the stock `generate`: repeatable, batched as alone, within what the model was made for."""

import pytest
import tiny
import torch
from conftest import documents
from transformers import GPT2Config, GPT2LMHeadModel

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.errors import ConfigError, DataError
from hfrep.evaluation.generation import PROMPT, GenerationSettings, continuations, generate

PROMPTS = ["the old house", "a", ""]


@pytest.fixture(scope="module")
def tokenizer(bpe):
    return decoder_tokenizer(bpe)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3, **special
    )
    return GPT2LMHeadModel(config)


def test_greedy_is_the_likeliest_token_each_time(model, tokenizer):
    """Token by token by hand, and the same in a batch of prompts of different lengths."""
    settings = GenerationSettings(max_new_tokens=8, temperature=0)
    together = generate(model, tokenizer, PROMPTS, settings, seed=0)
    for prompt, written in zip(PROMPTS, together, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        made = []
        while len(made) < 8 and tokenizer.eos_token_id not in made:
            made.append(int(model(torch.tensor([[*ids, *made]])).logits[0, -1].argmax()))
        assert written == tokenizer.decode(made, skip_special_tokens=True)


def test_blanks_between_prompt_and_text_are_kept(wordpiece):
    """A WordPiece has no sign for a blank before a word: text and prompt together decode as one."""
    tokenizer = decoder_tokenizer(wordpiece)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
    )
    model = GPT2LMHeadModel(config).eval()
    settings = GenerationSettings(max_new_tokens=12, temperature=0)
    ids = tokenizer("the old house", return_tensors="pt")["input_ids"]
    whole = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]
    (written,) = generate(model, tokenizer, ["the old house"], settings, seed=0)
    assert "the old house" + written == tokenizer.decode(whole, skip_special_tokens=True)
    assert written.startswith(" ") or not tokenizer.convert_ids_to_tokens(int(whole[ids.shape[1]])).isalpha()


def test_draws_hang_on_the_seed_alone(model, tokenizer):
    """Same seed, same text; the global generator is left as it was."""
    settings = GenerationSettings(max_new_tokens=12)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    texts = [generate(model, tokenizer, PROMPTS, settings, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(1), expected)
    assert texts[0] == texts[1] != texts[2]


def test_limits_reach_the_stock_class(model, tokenizer):
    """Among the one likeliest token, or those of hardly any probability, a draw is greedy."""
    greedy = generate(model, tokenizer, PROMPTS, GenerationSettings(max_new_tokens=6, temperature=0), seed=0)
    for limits in ({"top_k": 1}, {"top_p": 1e-6}):
        assert generate(model, tokenizer, PROMPTS, GenerationSettings(max_new_tokens=6, **limits), seed=3) == greedy


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": -0.1}, r"temperature: expected 0 \(greedy\), or 0.01 or more, found -0.1"),
        ({"top_p": 0.0}, "top_p: expected a probability above 0, at most 1, found 0.0"),
        ({"top_k": -1}, r"top_k: expected 0 \(no limit\) or more, found -1"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected 1 or more, found 0"),
    ],
)
def test_nonsense_is_refused(wrong, words):
    """Each setting says its range."""
    with pytest.raises(ConfigError, match=words):
        GenerationSettings(**wrong)


def test_a_prompt_without_room_is_refused(model, tokenizer):
    """Which prompt, and how long it may be."""
    settings = GenerationSettings(max_new_tokens=60)
    words = r"prompt 'the old house': expected at most 4 tokens, so that --max_new_tokens 60 more fit into the 64"
    with pytest.raises(DataError, match=words):
        generate(model, tokenizer, PROMPTS, settings, seed=0)


def test_samples_go_on_from_documents(model, tokenizer, bpe, tmp_path):
    """Each begins as a document does, the same ones every time."""
    texts = documents(40)
    rows = tiny.blocks(texts, bpe, tmp_path, causal=True)
    settings = GenerationSettings(max_new_tokens=8)
    samples = continuations(model, tokenizer, rows, 3, settings)
    assert len(samples) == 3
    assert len({sample.written for sample in samples}) == 3
    for sample in samples:
        assert any(text.startswith(sample.prompt) for text in texts)
        assert len(tokenizer(sample.prompt)["input_ids"]) <= PROMPT + 1
    assert continuations(model, tokenizer, rows, 3, settings) == samples
