"""Validation by totals, the counting baselines, and initial weights."""

import math
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from accelerate import Accelerator
from conftest import documents

from hfrep.data.rows import Concatenated
from hfrep.errors import ConfigError
from hfrep.evaluation.fillings import fillings
from hfrep.evaluation.language_modeling import (
    ValidationSettings,
    language_modeling_metrics,
    totals,
    validation_batches,
)
from hfrep.evaluation.ngrams import masked_targets, ngram_baselines, ngram_losses
from hfrep.models.initialization import OFFSETS, initialize_from_text
from hfrep.objectives.base import IGNORED
from hfrep.objectives.masking import MaskedLMCollator, special_tokens


@pytest.fixture(scope="module")
def rows(wordpiece, tmp_path_factory):
    return tiny.blocks(documents(40), wordpiece, tmp_path_factory.mktemp("blocks"))


@pytest.fixture
def collator(wordpiece):
    return MaskedLMCollator.of(wordpiece, rates=(0.15, 0.15), by="token", seed=9)


def test_baselines_are_naive_counting(rows, wordpiece):
    """Both predictors equal add-one counting by loops over the segments."""
    special = special_tokens(wordpiece)
    taken = rows.take(np.arange(len(rows)))
    words, pairs, starts = Counter(), Counter(), Counter()
    for tokens, segments in zip(taken["input_ids"].tolist(), taken["segments"].tolist(), strict=True):
        for i, token in enumerate(tokens):
            words[token] += not special[token]
            if i and segments[i] == segments[i - 1] and not special[token]:
                pairs[tokens[i - 1], token] += 1
                starts[tokens[i - 1]] += 1
    draw = np.random.default_rng(0)
    targets, neighbours = draw.integers(5, len(wordpiece), 50), draw.integers(0, len(wordpiece), 50)
    size = len(wordpiece)
    unigrams = np.bincount(taken["input_ids"].ravel(), minlength=size)
    expected = {
        "eval_unigram_loss": [-math.log((words[t] + 1) / (sum(words.values()) + size)) for t in targets],
        "eval_bigram_loss": [
            -math.log((pairs[n, t] + 1) / (starts[n] + size)) for n, t in zip(neighbours, targets, strict=True)
        ],
    }
    losses = ngram_losses(rows, targets, neighbours, unigrams, special)
    assert losses == pytest.approx({name: np.mean(values) for name, values in expected.items()})


def test_validation_is_totals_over_all_rows(rows, wordpiece, collator):
    """The loss is Σ nats / Σ targets of the rows one by one, though the last batch is short and masks differ."""
    objective = tiny.masked_lm(wordpiece).eval()
    data = validation_batches(rows, collator, ValidationSettings(max_eval_samples=45), Accelerator(cpu=True))
    metrics = language_modeling_metrics(totals(objective, objective, data, Accelerator(cpu=True)), "mlm")
    nats = targets = right = 0.0
    with torch.no_grad():
        for row in range(45):
            addresses = data.addresses(np.array([row]))
            batch = collator(rows.take(addresses.rows), addresses)
            nats += float(objective(batch)["mlm"])
            targets += float((batch["labels"] != IGNORED).sum())
            right += float(objective(batch)["correct"])
    assert metrics["eval_loss"] == pytest.approx(nats / targets, rel=1e-5)
    assert metrics["eval_perplexity"] == pytest.approx(math.exp(nats / targets), rel=1e-4)
    assert metrics["eval_accuracy"] == pytest.approx(right / targets)


def test_every_corpus_is_judged(rows, wordpiece, collator):
    """A sample of two corpora, one after the other, holds rows of both, each once, and the same ones every time."""
    both = Concatenated([rows, rows])
    data = validation_batches(both, collator, ValidationSettings(max_eval_samples=20), Accelerator(cpu=True))
    chosen = data.addresses(np.arange(20)).rows
    assert len(set(chosen.tolist())) == 20
    assert 0 < (chosen < len(rows)).sum() < 20


def test_validation_masks_are_fixed(rows, wordpiece, collator):
    """The same positions are judged every time."""
    data = validation_batches(rows, collator, ValidationSettings(), Accelerator(cpu=True))
    assert torch.equal(data[0]["label_positions"], data[0]["label_positions"])
    unigrams = np.ones(len(wordpiece), np.int64)
    first, second = (ngram_baselines(rows, data, masked_targets, unigrams, collator.special) for _ in range(2))
    assert first == second


def test_no_validation_rows_are_refused():
    """Zero samples are told."""
    with pytest.raises(ConfigError, match="max_eval_samples: expected 1 or more, found 0"):
        ValidationSettings(max_eval_samples=0)


def test_fillings_show_the_true_word(rows, wordpiece):
    """Each filling hides one word, keeps what is around it, and lists guesses by falling probability."""
    found = fillings(tiny.masked_lm(wordpiece).kept, wordpiece, rows, number=3)
    assert len(found) == 3
    for filling in found:
        probabilities = [probability for _, probability in filling.guesses]
        assert probabilities == sorted(probabilities, reverse=True)
        assert filling.truth.isalpha()
        assert f"true: {filling.truth}; guessed: {filling.guesses[0][0]}" in str(filling)


@pytest.mark.parametrize("preset", ["bert-micro", "roberta-micro"])
def test_training_starts_at_the_unigram_loss(rows, wordpiece, collator, preset):
    """With the log frequencies as output bias, a fresh model's loss is the unigram's to a few percent."""
    counts = np.where(
        special_tokens(wordpiece),
        0,
        np.bincount(rows.take(np.arange(len(rows)))["input_ids"].ravel(), minlength=len(wordpiece)),
    )
    objective = tiny.masked_lm(wordpiece, preset=preset).eval()
    data = validation_batches(rows, collator, ValidationSettings(), Accelerator(cpu=True))
    unigram = ngram_baselines(rows, data, masked_targets, counts, collator.special)["eval_unigram_loss"]

    def loss():
        return language_modeling_metrics(totals(objective, objective, data, Accelerator(cpu=True)), "mlm")["eval_loss"]

    before = loss()
    initialize_from_text(objective.kept, counts)
    assert loss() == pytest.approx(unigram, rel=0.05)
    assert before > 1.1 * unigram


@pytest.mark.parametrize("preset", ["bert-micro", "roberta-micro"])
def test_first_heads_look_at_their_neighbours(wordpiece, preset):
    """In the first layer, each head's largest mean weight beside the token itself lies at its offset."""
    model = tiny.masked_lm(wordpiece, preset=preset).kept.eval()
    initialize_from_text(model, np.ones(len(wordpiece), np.int64))
    attention = model.base_model.encoder.layer[0].attention.self
    tokens = torch.randint(5, len(wordpiece), (8, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = model.base_model.embeddings(input_ids=tokens)
        heads, size = attention.num_attention_heads, attention.attention_head_size
        query, key = (part(hidden).view(8, 30, heads, size) for part in (attention.query, attention.key))
        weights = (torch.einsum("bqhd,bkhd->hqk", query, key) / 8 / size**0.5).softmax(-1)
    for head in range(heads):
        mean = {offset: weights[head].diagonal(offset).mean().item() for offset in range(-5, 6) if offset}
        assert max(mean, key=mean.get) == OFFSETS[head % len(OFFSETS)]
