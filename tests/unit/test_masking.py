"""BERT's masking rule: rates within binomial bounds, and what is never chosen or drawn."""

import numpy as np
import pytest
import torch

from hfrep.data.order import Addresses
from hfrep.errors import ConfigError, DataError
from hfrep.objectives.base import IGNORED
from hfrep.objectives.masking import CAPACITY_STEP, MEAN_SPAN, MaskedLMCollator, MaskingSettings

LENGTH = 128
BYS = ("token", "word", "span")


def addresses(number, passes=0, progress=0.0):
    rows = np.arange(number)
    return Addresses(np.full(number, passes), rows, np.full(number, progress))


def packed(tokenizer, number, seed=0):
    """Rows of two segments of ordinary tokens with a little padding; words are one to four tokens long."""
    draw = np.random.default_rng(seed)
    ordinary = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids]
    tokens = draw.choice(ordinary, (number, LENGTH))
    starts = draw.random((number, LENGTH)) < 0.4
    segments = np.ones((number, LENGTH), np.int64)
    segments[:, LENGTH // 2 :] = 2
    for first, last in ((0, LENGTH // 2 - 1), (LENGTH // 2, LENGTH - 5)):
        tokens[:, first], tokens[:, last] = tokenizer.cls_token_id, tokenizer.sep_token_id
        starts[:, [first, last]], starts[:, first + 1] = False, True
    tokens[:, -4:], segments[:, -4:], starts[:, -4:] = tokenizer.pad_token_id, 0, False
    return {"input_ids": tokens, "segments": segments, "word_starts": starts}


def collate(tokenizer, rows, by="token", rate=0.15, seed=0, **where):
    collator = MaskedLMCollator.of(tokenizer, rates=(rate, rate), by=by, seed=seed)
    batch = collator(rows, addresses(len(rows["input_ids"]), **where))
    chosen = np.zeros(rows["input_ids"].size, bool)
    chosen[batch["label_positions"][batch["labels"] != IGNORED].numpy()] = True
    return batch, chosen.reshape(rows["input_ids"].shape)


def assert_share(share, expected, independent_draws):
    """`share` is within 4.5 standard deviations of `expected`."""
    assert abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / independent_draws), share


@pytest.fixture(params=["wordpiece", "bpe"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("rate", [0.15, 0.4])
@pytest.mark.parametrize("by", BYS)
def test_rates_are_berts(tokenizer, by, rate):
    """15 % of the eligible tokens are chosen; of these 80 % become [MASK], 10 % another token, 10 % stay."""
    rows = packed(tokenizer, 400)
    batch, chosen = collate(tokenizer, rows, by, rate)
    eligible = ~np.isin(rows["input_ids"], tokenizer.all_special_ids)
    # Tokens of a word or span are drawn together, so there are fewer independent draws than tokens.
    together = {"token": 1, "word": 4, "span": 4 * 2 * MEAN_SPAN}[by]
    assert_share(chosen.sum() / eligible.sum(), rate, eligible.sum() / together)
    after = batch["input_ids"].numpy()
    draws = chosen.sum() / together
    masked, kept = after[chosen] == tokenizer.mask_token_id, after[chosen] == rows["input_ids"][chosen]
    ordinary = len(tokenizer) - len(tokenizer.all_special_ids)
    assert_share(masked.mean(), 0.8, draws)
    assert_share(kept.mean(), 0.1 + 0.1 / ordinary, draws)
    assert_share((~masked & ~kept).mean(), 0.1 - 0.1 / ordinary, draws)
    assert np.array_equal(after[~chosen], rows["input_ids"][~chosen])


@pytest.mark.parametrize("by", BYS)
def test_special_tokens_are_never_chosen_nor_drawn(tokenizer, by):
    """D10: neither targets nor the random 10 % are special tokens or padding, over many draws."""
    rows = packed(tokenizer, 600)
    special = np.isin(rows["input_ids"], tokenizer.all_special_ids)
    batch, chosen = collate(tokenizer, rows, by, rate=0.6)
    assert not (chosen & special).any()
    drawn = batch["input_ids"].numpy()[chosen]
    others = [token for token in tokenizer.all_special_ids if token != tokenizer.mask_token_id]
    assert not np.isin(drawn, others).any()


def test_labels_are_what_stood_there(wordpiece):
    """Labels hold the original ids at their positions and are filled up to a multiple of 64."""
    rows = packed(wordpiece, 8)
    batch, chosen = collate(wordpiece, rows)
    labels, positions = batch["labels"], batch["label_positions"]
    real = labels != IGNORED
    assert len(labels) % CAPACITY_STEP == 0
    assert len(labels) - chosen.sum() < CAPACITY_STEP
    assert np.array_equal(labels[real].numpy(), rows["input_ids"].flat[positions[real].numpy()])
    assert {name: part.dtype for name, part in batch.items()} == dict.fromkeys(batch, torch.int64)


@pytest.mark.parametrize("by", BYS)
def test_a_row_never_comes_out_without_target(wordpiece, by):
    """At a rate that would leave most rows empty, each row that has an eligible token has a target."""
    rows = packed(wordpiece, 200)
    _, chosen = collate(wordpiece, rows, by, rate=0.001)
    assert chosen.any(axis=1).all()


def test_a_row_of_special_tokens_has_no_target(wordpiece):
    """Where nothing is eligible nothing is chosen, and the batch still has a shape."""
    rows = packed(wordpiece, 3)
    rows["input_ids"][:] = wordpiece.pad_token_id
    batch, chosen = collate(wordpiece, rows)
    assert not chosen.any()
    assert batch["labels"].tolist() == [IGNORED] * CAPACITY_STEP


@pytest.mark.parametrize("by", ["word", "span"])
def test_words_are_chosen_whole(wordpiece, by):
    """Tokens of one word are targets together, and a row's end or a segment's ends a word."""
    rows = packed(wordpiece, 100)
    _, chosen = collate(wordpiece, rows, by, rate=0.3)
    special = np.isin(rows["input_ids"], wordpiece.all_special_ids)
    continues = ~rows["word_starts"][:, 1:] & ~special[:, 1:] & ~special[:, :-1]
    assert (chosen[:, 1:] == chosen[:, :-1])[continues].all()


def test_spans_have_geometric_lengths(wordpiece):
    """Runs of chosen words are 3 long in the mean, with the geometric distribution's share of single words."""
    rows = packed(wordpiece, 2000)
    special = np.isin(rows["input_ids"], wordpiece.all_special_ids)
    rows["word_starts"] = ~special
    _, chosen = collate(wordpiece, rows, "span", rate=0.1)
    edges = np.diff(np.pad(chosen, ((0, 0), (1, 1))).astype(int), axis=1)
    lengths = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
    # Runs at a segment's ends are cut, which shortens the mean a little.
    assert lengths.mean() == pytest.approx(MEAN_SPAN, rel=0.06)
    assert (lengths == 1).mean() == pytest.approx(1 / MEAN_SPAN, rel=0.1)


def test_a_span_is_replaced_as_one(wordpiece):
    """Neighbours in a span are masked together or not at all, but where one span touches the next."""
    rows = packed(wordpiece, 2000)
    batch, chosen = collate(wordpiece, rows, "span")
    masked = batch["input_ids"].numpy() == wordpiece.mask_token_id
    neighbours = chosen[:, 1:] & chosen[:, :-1]
    assert (masked[:, 1:] != masked[:, :-1])[neighbours].mean() < 0.05  # 0.32 if each had a fate of its own
    batch, chosen = collate(wordpiece, rows, "word")  # of a word, each token has
    masked = batch["input_ids"].numpy() == wordpiece.mask_token_id
    neighbours = chosen[:, 1:] & chosen[:, :-1]
    assert (masked[:, 1:] != masked[:, :-1])[neighbours].mean() == pytest.approx(0.32, abs=0.02)


def test_masks_belong_to_the_row_and_the_pass(wordpiece):
    """A row's masks are the same in any batch, and others in another pass and under another seed (D5)."""
    rows = packed(wordpiece, 20)
    _, alone = collate(wordpiece, {name: values[:7] for name, values in rows.items()})
    _, together = collate(wordpiece, rows)
    assert np.array_equal(alone, together[:7])
    for change in ({"passes": 1}, {"seed": 1}):
        _, other = collate(wordpiece, rows, **change)
        assert 0.5 < (other & together).sum() / (0.15 * together.sum()) < 2


def test_the_rate_follows_progress(wordpiece):
    """0.4:0.1 starts at 40 %, ends at 10 %, and is half-way between at half time."""
    rows = packed(wordpiece, 300)
    collator = MaskedLMCollator.of(
        wordpiece, rates=MaskingSettings(mlm_probability="0.4:0.1").rates, by="token", seed=0
    )
    eligible = (~np.isin(rows["input_ids"], wordpiece.all_special_ids)).sum()
    for progress, rate in ((0.0, 0.4), (0.5, 0.25), (1.0, 0.1)):
        labels = collator(rows, addresses(300, progress=progress))["labels"]
        assert_share(float((labels != IGNORED).sum()) / eligible, rate, eligible)


@pytest.mark.parametrize("given", ["0", "1", "-0.1", "1.5", "0.3:0", "nan"])
def test_rates_outside_zero_and_one_are_refused(given):
    """The message says what was expected and shows what was given."""
    with pytest.raises(ConfigError, match=f"mlm_probability: expected a share above 0 and below 1, found {given}"):
        MaskingSettings(mlm_probability=given)


def test_rates_that_are_no_numbers_are_refused():
    """A word is told from a number."""
    with pytest.raises(ConfigError, match="mlm_probability: expected a number or START:END, found 'often'"):
        MaskingSettings(mlm_probability="often")


def test_spans_refuse_validation_rates_they_cannot_reach():
    """What holds in training holds in validation."""
    with pytest.raises(
        ConfigError, match=r"eval_mlm_probability: expected a share above 0 and up to 0\.67, found 0\.8"
    ):
        MaskingSettings(masking="span", eval_mlm_probability=0.8)


def test_spans_refuse_rates_they_cannot_reach():
    """Above two thirds, spans of mean 3 would have to touch."""
    with pytest.raises(ConfigError, match=r"up to 0\.67, found 0\.8"):
        MaskingSettings(mlm_probability="0.8", masking="span")


def test_a_tokenizer_without_mask_is_refused(wordpiece):
    """The message says that masked language modeling needs one."""
    import copy

    causal = copy.deepcopy(wordpiece)
    causal.mask_token = None
    with pytest.raises(DataError, match="expected a mask token, which masked language modeling needs, found none"):
        MaskedLMCollator.of(causal, rates=(0.15, 0.15), by="token", seed=0)


def test_one_rate_has_one_spelling():
    """0.40 is no other run than 0.4."""
    assert MaskingSettings(mlm_probability="0.40") == MaskingSettings(mlm_probability="0.4")
    assert MaskingSettings(mlm_probability="0.30:0.150").mlm_probability == "0.3:0.15"
