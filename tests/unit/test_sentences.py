"""Sentences on their way to a model: batches, ties, special tokens, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import sentences
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from hfrep.errors import DataError
from hfrep.evaluation.likelihood import log_likelihoods
from hfrep.evaluation.pseudo_likelihood import pseudo_log_likelihoods
from hfrep.evaluation.sentences import FRAME, Sentences, batches
from hfrep.models.presets import ModelSettings, build_model

TEXTS = sentences(30, seed=3)


@pytest.fixture(scope="module")
def encoder(wordpiece):
    torch.manual_seed(0)
    return build_model(ModelSettings(model="bert-micro"), tokenizer=wordpiece, sequence_length=64)


@pytest.fixture(scope="module")
def decoder(bpe):
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(bpe), n_positions=128, n_embd=32, n_layer=1, n_head=2))


def test_batches_keep_to_their_bound():
    """Every row comes once and in order; no padded batch exceeds the bound, but for a row that alone does."""
    lengths = np.sort(np.random.default_rng(0).integers(1, 60, 500))
    runs = list(batches(lengths, 50))
    assert np.concatenate(runs).tolist() == list(range(500))
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        assert len(run) * lengths[run[-1]] <= 50 or len(run) == 1
        if following is not None:  # one row more would not have fitted
            assert (len(run) + 1) * lengths[following[0]] > 50


def test_no_rows_are_no_batches():
    """Nothing to score is no error."""
    assert list(batches(np.zeros(0, np.int64), 50)) == []


def test_sentences_are_laid_out_whole(wordpiece):
    """Taken out in any order, each sentence has its tokens, its words and its frame, and padding behind it."""
    laid = Sentences.of(wordpiece, TEXTS, begin=[2], end=[3])
    ids, words, segments = laid.take(laid.given, pad=0)
    for row, text in enumerate(TEXTS):
        encoded = wordpiece(text)
        length = len(encoded.input_ids)
        assert ids[row].tolist() == encoded.input_ids + [0] * (ids.shape[1] - length)
        assert words[row, :length].tolist() == [FRAME if word is None else word for word in encoded.word_ids()]
        assert segments[row].tolist() == [1] * length + [0] * (ids.shape[1] - length)


def test_same_tokens_tie_exactly(encoder, wordpiece):
    """Sentences that a lower-casing tokenizer reads alike are scored once, wherever they stand among the others."""
    texts = [TEXTS[0], *TEXTS[1:20], TEXTS[0].upper(), *TEXTS[20:], TEXTS[0]]
    scores = pseudo_log_likelihoods(encoder, wordpiece, texts, batch_tokens=64)
    assert scores.nats[0] == scores.nats[20] == scores.nats[-1]
    assert len(set(scores.nats.tolist())) == len(TEXTS)
    assert len(Sentences.of(wordpiece, texts, begin=[], end=[])) == len(TEXTS)  # none is worked out twice


def test_special_tokens_in_a_text_are_text(encoder, wordpiece, decoder, bpe):
    """A sentence that spells out [MASK] or </s> is scored as those characters, not as those tokens."""
    spelled = pseudo_log_likelihoods(encoder, wordpiece, ["the [MASK] house"]).tokens[0]
    assert spelled == len(wordpiece.tokenize("the [ mask ] house"))
    assert log_likelihoods(decoder, bpe, ["the</s>"]).tokens[0] > log_likelihoods(decoder, bpe, ["the"]).tokens[0] + 1


def test_no_sentences(encoder, wordpiece, decoder, bpe):
    """No sentence has no score."""
    assert len(pseudo_log_likelihoods(encoder, wordpiece, []).nats) == 0
    assert len(log_likelihoods(decoder, bpe, []).nats) == 0


def test_too_long_a_sentence_is_named(encoder, wordpiece, decoder, bpe):
    """The model's positions bound a sentence; which one is longer is told, counted from one."""
    long = "house " * 600
    words = (
        "sentence 3: expected at most the 512 tokens, special ones included, that the model has positions for, found"
    )
    with pytest.raises(DataError, match=words):
        pseudo_log_likelihoods(encoder, wordpiece, [TEXTS[0], TEXTS[1], long])
    with pytest.raises(DataError, match=r"sentence 1: expected at most the 128 tokens.*; shorten it or leave it out"):
        log_likelihoods(decoder, bpe, [long])


def test_an_encoder_needs_its_special_tokens(encoder, bpe):
    """Without a mask token nothing can be masked."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, cls_token="<s>", sep_token="</s>")
    with pytest.raises(
        DataError, match=r"expected cls, sep and mask tokens, .* found no mask token; give the tokenizer"
    ):
        pseudo_log_likelihoods(encoder, bare, TEXTS)


def test_an_end_token_that_is_not_there(decoder, bpe):
    """Scoring the end needs an end token."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer)
    with pytest.raises(DataError, match="expected an end token, which was to be scored, found none; score without"):
        log_likelihoods(decoder, bare, TEXTS, end_token=True)
