"""Pseudo-log-likelihood against the papers' own loop: one token at a time, one sentence at a time, the stock class."""

import pytest
import torch
from conftest import sentences
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.evaluation.pseudo_likelihood import Scoring, pseudo_log_likelihoods
from hfrep.models.presets import ModelSettings, build_model

MICROS = ["bert-micro", "roberta-micro", "modernbert-micro"]
TEXTS = [*sentences(12, seed=5), "Unbelievable!", "the", "", "It's extraordinarily well-known."]


@pytest.fixture(params=["wordpiece", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return request.getfixturevalue(request.param)


def micro(name: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    model = build_model(ModelSettings(model=name), tokenizer=tokenizer, sequence_length=64)
    with torch.no_grad():
        for parameter in model.parameters():  # fresh weights say nearly the same of every sentence
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval()


@torch.no_grad()
def naive(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str, scoring: Scoring) -> tuple[float, int]:
    """Salazar et al. 2020 and Kauf and Ivanova 2023 as loops; the total in nats and the number of tokens."""
    encoded = tokenizer(text)
    words, total, tokens = encoded.word_ids(), 0.0, 0
    for place, word in enumerate(words):
        if word is None:
            continue
        masked = list(encoded.input_ids)
        masked[place] = tokenizer.mask_token_id
        if scoring == "within_word_l2r":
            for later in range(place + 1, len(words)):
                if words[later] == word:
                    masked[later] = tokenizer.mask_token_id
        logits = model(torch.tensor([masked])).logits[0, place]
        total += logits.double().log_softmax(-1)[encoded.input_ids[place]].item()
        tokens += 1
    return total, tokens


@pytest.mark.parametrize("scoring", ["pll", "within_word_l2r"])
@pytest.mark.parametrize("name", MICROS)
def test_batched_scores_are_the_loops(name: str, scoring: Scoring, tokenizer: PreTrainedTokenizerFast) -> None:
    """Totals and counts are those of masking one token at a time, for ragged sentences in batches of any size."""
    model = micro(name, tokenizer)
    expected = [naive(model, tokenizer, text, scoring) for text in TEXTS]
    for batch_tokens in (1, 100, 100_000):
        scores = pseudo_log_likelihoods(model, tokenizer, TEXTS, scoring=scoring, batch_tokens=batch_tokens)
        assert scores.nats.tolist() == pytest.approx([total for total, _ in expected], rel=1e-5)
        assert scores.tokens.tolist() == [tokens for _, tokens in expected]


@pytest.mark.parametrize("name", MICROS)
def test_the_variants_differ_in_words_of_several_tokens_only(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """Where no word has two tokens nothing else is masked; where one has, its pieces no longer give it away."""
    model = micro(name, tokenizer)
    plain, within = (
        pseudo_log_likelihoods(model, tokenizer, TEXTS, scoring=scoring).nats for scoring in ("pll", "within_word_l2r")
    )
    for text, one, other in zip(TEXTS, plain, within, strict=True):
        words = [word for word in tokenizer(text).word_ids() if word is not None]
        assert (one == pytest.approx(other, rel=1e-6)) == (len(words) == len(set(words)))


def test_model_is_as_it_was(wordpiece: PreTrainedTokenizerFast) -> None:
    """Scoring leaves no hook behind, so the class gives its logits at every position again."""
    model = micro("bert-micro", wordpiece)
    before = len(model.base_model._forward_hooks)
    pseudo_log_likelihoods(model, wordpiece, TEXTS)
    assert len(model.base_model._forward_hooks) == before
    assert model(torch.tensor([[2, 8, 3]])).logits.shape == (1, 3, model.config.vocab_size)
