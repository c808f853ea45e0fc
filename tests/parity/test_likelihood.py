"""Summed log-likelihood under a causal model against the stock classes' own loss."""

import pytest
import torch
from conftest import sentences
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from hfrep.evaluation.likelihood import log_likelihoods

TEXTS = sentences(50, seed=7)


def gpt2(size: int) -> PreTrainedModel:
    config = GPT2Config(vocab_size=size, n_positions=128, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


def llama(size: int) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(params=[gpt2, llama])
def model(request: pytest.FixtureRequest, bpe: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    return request.param(len(bpe))


@torch.no_grad()
def stock_loss(model: PreTrainedModel, ids: list[int]) -> float:
    """The class's own loss of one sentence alone, its mean made a sum again."""
    tokens = torch.tensor([ids])
    return -model(input_ids=tokens, labels=tokens).loss.item() * (len(ids) - 1)


def framed(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_sums_are_those_of_the_stock_loss(side: str, model: PreTrainedModel, bpe: PreTrainedTokenizerFast) -> None:
    """50 ragged sentences, padded by the tokenizer to either side and scored by the class, each by its own labels."""
    bpe.padding_side = side
    try:
        scores = log_likelihoods(model, bpe, TEXTS, batch_tokens=300)
        padded = bpe.pad({"input_ids": [framed(bpe, text) for text in TEXTS]}, return_tensors="pt")
    finally:
        bpe.padding_side = "right"
    mask = padded["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for number in range(len(TEXTS)):
        only = torch.where((torch.arange(len(TEXTS)) == number)[:, None] & (mask == 1), padded["input_ids"], -100)
        only[number, mask[number].argmax()] = -100  # the begin token
        if number % 10 == 0:  # a whole padded batch for one sentence's loss is dear
            loss = model(input_ids=padded["input_ids"], attention_mask=mask, position_ids=positions, labels=only).loss
            assert scores.nats[number] == pytest.approx(-loss.item() * (only != -100).sum().item(), rel=1e-5)
        assert scores.nats[number] == pytest.approx(stock_loss(model, framed(bpe, TEXTS[number])), rel=1e-5)
        assert scores.tokens[number] == len(framed(bpe, TEXTS[number])) - 1


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
def test_batches_do_not_matter(batch_tokens: int, model: PreTrainedModel, bpe: PreTrainedTokenizerFast) -> None:
    """One sentence at a time, a few, or all of them: the same sums, in the order the sentences were given in."""
    scores = log_likelihoods(model, bpe, TEXTS, batch_tokens=batch_tokens)
    assert scores.nats.tolist() == pytest.approx([stock_loss(model, framed(bpe, text)) for text in TEXTS], rel=1e-5)


def test_the_end_is_scored_only_where_asked_for(model: PreTrainedModel, bpe: PreTrainedTokenizerFast) -> None:
    """The tokenizer's post-processor would append </s>; scored it is only with end_token, as one token more."""
    assert bpe(TEXTS[0]).input_ids[-1] == bpe.eos_token_id
    without, with_end = (log_likelihoods(model, bpe, TEXTS[:5], end_token=end) for end in (False, True))
    ended = [stock_loss(model, [*framed(bpe, text), bpe.eos_token_id]) for text in TEXTS[:5]]
    assert with_end.nats.tolist() == pytest.approx(ended, rel=1e-5)
    assert (with_end.tokens - without.tokens).tolist() == [1] * 5
    assert (with_end.nats < without.nats).all()


def test_a_wordpiece_tokenizer_begins_with_its_cls_token(wordpiece: PreTrainedTokenizerFast) -> None:
    """Without a begin token of its own, [CLS] stands before the sentence, and no [SEP] behind it."""
    torch.manual_seed(0)
    model = gpt2(len(wordpiece))
    ids = [wordpiece.cls_token_id, *wordpiece(TEXTS[0], add_special_tokens=False).input_ids]
    scores = log_likelihoods(model, wordpiece, TEXTS[:1])
    assert scores.nats[0] == pytest.approx(stock_loss(model, ids), rel=1e-5)
    assert scores.tokens[0] == len(ids) - 1


def test_without_a_begin_token_the_first_is_not_scored(model: PreTrainedModel, bpe: PreTrainedTokenizerFast) -> None:
    """Nothing predicts the first token then; it is neither in the sum nor in the count, and a lone one scores 0."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer)
    scores = log_likelihoods(model, bare, [TEXTS[0], "t", ""])
    ids = bpe(TEXTS[0], add_special_tokens=False).input_ids
    assert scores.nats[0] == pytest.approx(stock_loss(model, ids), rel=1e-5)
    assert scores.tokens.tolist() == [len(ids) - 1, 0, 0]
    assert scores.nats[1:].tolist() == [0.0, 0.0]
