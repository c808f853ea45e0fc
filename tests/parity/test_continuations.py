"""Sliding windows, last words and bits per byte against loops over the stock class."""

import math

import numpy as np
import pytest
import torch
from conftest import documents
from transformers import GPT2Config, GPT2LMHeadModel

from hfrep.data.blocks import BlockFacts
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.evaluation.continuations import score_continuations
from hfrep.evaluation.language_modeling import bits_per_byte
from hfrep.evaluation.last_word import score_last_words
from hfrep.evaluation.long_context import score_documents

POSITIONS = 48


@pytest.fixture(scope="module")
def tokenizer(bpe):
    return decoder_tokenizer(bpe)


@pytest.fixture(scope="module")
def model(bpe):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(bpe), n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


@torch.no_grad()
def log_probabilities(model, ids):
    """Of each token of `ids` but the first, given those before it, and the likeliest token there."""
    logits = model(torch.tensor([ids])).logits[0, :-1].double()
    nats = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return nats.tolist(), logits.argmax(-1).tolist()


@pytest.mark.parametrize("batch_tokens", [1, 200, 10_000])
def test_tails_are_those_of_the_stock_class(model, batch_tokens):
    """Sums over the last tokens of texts of different lengths, and whether they are what greedy decoding writes."""
    draw = np.random.default_rng(0)
    texts = [draw.integers(5, 300, size).tolist() for size in (2, 9, 30, 9, 17)]
    for _ in range(4):  # a text that ends as the model would have it
        texts[1].append(log_probabilities(model, [*texts[1], 0])[1][-1])
    tails = [1, 4, 29, 3, 10]
    scores = score_continuations(model, texts, tails, batch_tokens=batch_tokens)
    for number, (text, tail) in enumerate(zip(texts, tails, strict=True)):
        nats, best = log_probabilities(model, text)
        assert scores.nats[number] == pytest.approx(sum(nats[-tail:]), rel=1e-5)
        assert scores.greedy[number] == (best[-tail:] == text[-tail:])
    assert scores.greedy.tolist()[1] is True
    assert not scores.greedy.all()


@pytest.mark.parametrize(("window", "stride"), [(16, 15), (16, 8), (16, 1), (POSITIONS, 20)])
def test_windows_charge_each_token_once(model, tokenizer, window, stride):
    """Token by token: each is predicted from the begin token and what the rule says it may see before it."""
    texts = [*documents(3), "short", documents(1, seed=3)[0] * 3]
    nats = tokens = 0
    for encoding in encode_documents(tokenizer, texts):
        ids = [*encoding.ids, tokenizer.eos_token_id]
        for place in range(len(ids)):
            if place < window - 1:
                start = 0
            else:
                end = window - 1 + -(-(place - window + 2) // stride) * stride  # of the window that charges it
                start = max(0, min(end, len(ids)) - (window - 1))
            nats -= log_probabilities(model, [tokenizer.bos_token_id, *ids[start : place + 1]])[0][-1]
            tokens += 1
    score = score_documents(model, tokenizer, texts, window=window, stride=stride)
    size = sum(len(text.encode()) for text in texts)
    assert (score.tokens, score.documents, score.bytes) == (tokens, 5, size)
    assert score.nats == pytest.approx(nats, rel=1e-5)
    assert score.bits_per_byte == pytest.approx(nats / size / math.log(2), rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-4)


def test_a_smaller_stride_sees_more(model, tokenizer):
    """Windows that overlap score another number than windows that do not."""
    strides = [score_documents(model, tokenizer, documents(2), window=16, stride=stride).nats for stride in (15, 1)]
    assert strides[0] != pytest.approx(strides[1], rel=1e-4)


def test_bits_per_byte_by_hand():
    """2 nats a token, 30 tokens for 100 bytes: 60 nats or 86.56 bits for 100 bytes."""
    fact = BlockFacts(3, 40, 2, 10, 0, 10, 16, "uint16", 0)
    rest = BlockFacts(1, 60, 2, 20, 0, 10, 16, "uint16", 0)
    assert bits_per_byte(2.0, [fact, rest]) == pytest.approx(0.8656, abs=1e-4)


def test_last_words(model, tokenizer):
    """The tokens of the last word, its blank included, given all before them; long passages are cut on the left."""
    passages = ["the old house", "a unbelievable understanding", "the teacher sees extraordinarily", documents(1)[0]]
    nats, right = 0.0, 0
    for passage in passages:
        context, word = passage.rsplit(" ", 1)
        whole = encode_documents(tokenizer, [passage])[0].ids
        before = encode_documents(tokenizer, [context])[0].ids
        assert encode_documents(tokenizer, [" " + word])[0].ids == whole[len(before) :]
        tail = len(whole) - len(before)
        values, best = log_probabilities(model, [tokenizer.bos_token_id, *whole[1 - POSITIONS :]])
        nats -= sum(values[-tail:])
        right += best[-tail:] == whole[-tail:]
    score = score_last_words(model, tokenizer, passages, window=POSITIONS)
    assert score.nats_per_word == pytest.approx(nats / 4, rel=1e-5)
    assert score.accuracy == right / 4
    assert score.perplexity == pytest.approx(math.exp(nats / 4), rel=1e-4)
    assert 0 <= score.low <= score.accuracy <= score.high <= 1


def test_what_a_tokenizer_loses_is_said(model, tokenizer, wordpiece):
    """Bits per byte of a tokenizer that folds case are too low, and the score says so."""
    texts, folds = ["The Old HOUSE."], decoder_tokenizer(wordpiece)
    assert score_documents(model, tokenizer, texts, window=16, stride=8).lossless
    score = score_documents(model, folds, texts, window=16, stride=8)
    assert not score.lossless
    assert "bits per byte (too low: the tokenizer loses some of the text)" in str(score)


def test_a_last_word_of_no_token_is_refused(model, wordpiece):
    """A word that the tokenizer drops would cost nothing."""
    with pytest.raises(DataError, match="passage 1: expected a last word of which the tokenizer keeps something"):
        score_last_words(model, decoder_tokenizer(wordpiece), ["the old \u200b"], window=POSITIONS)


def test_a_passage_without_context_is_refused(model, tokenizer):
    """The message names the passage."""
    with pytest.raises(DataError, match="passage 2: expected two words or more, the last of which is asked for, found"):
        score_last_words(model, tokenizer, ["two words", "one"], window=POSITIONS)
