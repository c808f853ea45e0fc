"""Which rows are shown before an item: drawn, in turns, the first or the most alike; never the item itself."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import sentences
from micros import MICROS, micro
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from hfrep.errors import ConfigError, DataError
from hfrep.evaluation.prompting.demonstrations import LOOKED_THROUGH, Chooser
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.tasks.items import Items, PromptData
from hfrep.tasks.prompt import Prompt, Template

DRAWN = ["random", "balanced", "nearest"]
HOW = [*DRAWN, "first"]
ANGLES = np.linspace(0, 3, 7)  # of the texts "0" to "6": the nearer the numbers, the more alike


def items_of(texts, targets=None):
    given = np.zeros(len(texts), np.int64) if targets is None else np.array(targets)
    return Items([{"text": text} for text in texts], given, np.arange(len(texts)))


def data_of(pool, targets=None, items=None, labels=("bad", "good")):
    """Rows to show and items to ask, which are the rows unless given."""
    template = Template("{{text}} {{answer}}", {label: label for label in labels or ()})
    prompt = Prompt(name="mine", title="Mine", templates=(template,), labels=labels)
    shown = items_of(pool, targets)
    return PromptData(prompt, shown, shown if items is None else items_of(items), items is None, (), "")


def embed(texts):
    """Unit vectors of texts that end in a number."""
    angles = ANGLES[[int(text.split()[-1]) for text in texts]]
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def chooser(data, how, embed=embed):
    """Gives rows for the items of `data`, of so many shots and a seed."""
    choose = Chooser(data, how, lambda row: data.pool.rows[row]["text"], embed)
    return partial(choose, [row["text"] for row in data.items.rows])


def spread(number):
    """Texts that are all different, over the seven angles."""
    return [f"text {place} at {place % 7}" for place in range(number)]


@pytest.mark.parametrize("how", HOW)
def test_demonstrations_are_the_same_every_time(how):
    """Rows of the pool, each once, as many as asked for; none where none are."""
    pool = spread(30)
    for items in (None, ["item 0", "item 3", "item 6"]):
        first, second = (chooser(data_of(pool, [0, 1] * 15, items), how) for _ in range(2))
        for shots in (0, 1, 2, 5, 12):
            shown = first(shots, seed=1)
            assert [rows.tolist() for rows in shown] == [rows.tolist() for rows in second(shots, seed=1)]
            assert len(shown) == (30 if items is None else 3)
            assert all(rows.dtype == np.int64 and len(set(rows.tolist())) == shots for rows in shown)
            assert all(set(rows.tolist()) <= set(range(30)) for rows in shown)


@pytest.mark.parametrize("how", HOW)
def test_fewer_demonstrations_are_some_of_more(how):
    """What is added stands behind the others, or before them where the most alike is the last."""
    choose = chooser(data_of(spread(30), [0, 1, 2] * 10, labels=("a", "b", "c")), how)
    most = choose(12, seed=1)
    for shots in range(12):
        for some, all_of_them in zip(choose(shots, seed=1), most, strict=True):
            part = all_of_them[12 - shots :] if how == "nearest" else all_of_them[:shots]
            assert some.tolist() == part.tolist()


@pytest.mark.parametrize("how", ["random", "balanced"])
def test_another_seed_draws_others(how):
    """Over seeds every row is shown about as often, at every place."""
    choose = chooser(data_of(spread(10), [0, 1] * 5, ["item"]), how)
    drawn = np.array([choose(2, seed)[0] for seed in range(400)])
    assert len({tuple(rows) for rows in drawn.tolist()}) > 40
    for place in range(2):
        counts = np.bincount(drawn[:, place], minlength=10)
        assert counts.min() > 20
        assert counts.max() < 65  # of 40 that are expected, more than four standard deviations off


def test_all_items_are_shown_the_same_where_they_are_drawn():
    """So that what they share is read once."""
    for how in ("random", "balanced", "first"):
        shown = chooser(data_of(spread(30), [0, 1] * 15, [f"item {number}" for number in range(9)]), how)(4, seed=0)
        assert len({tuple(rows.tolist()) for rows in shown}) == 1


def test_first_ones_are_the_first():
    choose = chooser(data_of(spread(9), items=["item"]), "first")
    assert [choose(4, seed)[0].tolist() for seed in (0, 1)] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("items", [None, ["item"]], ids=["asked from the pool", "apart"])
def test_balanced_has_as_many_of_each_class(items):
    """Give or take one, in turns, whatever the classes' shares; a rare one as long as it lasts."""
    targets = [0] * 24 + [1] * 6 + [2] * 10
    choose = chooser(data_of(spread(40), targets, items, ("a", "b", "c")), "balanced")
    for seed in range(5):
        for shots in (1, 2, 3, 4, 7, 15):
            for rows in choose(shots, seed):
                classes = np.array(targets)[rows]
                counts = np.bincount(classes, minlength=3)
                assert counts.max() - counts.min() <= 1
                turns = [classes[start : start + 3] for start in range(0, shots, 3)]
                assert all(len(set(turn.tolist())) == len(turn) for turn in turns)
        counts = np.bincount(np.array(targets)[choose(25, seed)[0]], minlength=3)
        rare = 6 if items else 5
        assert counts[1] >= rare
        assert abs(counts[0] - counts[2]) <= 1


def test_balanced_draws_within_the_classes():
    """Not always the same rows of them, nor always the same class first."""
    targets = [0] * 20 + [1] * 20
    choose = chooser(data_of(spread(40), targets, ["item"]), "balanced")
    shown = [choose(2, seed)[0] for seed in range(20)]
    assert {targets[rows[0]] for rows in shown} == {0, 1}
    assert len({int(row) for rows in shown for row in rows}) > 15


def test_the_most_alike_stands_last():
    """In the order of a naive cosine, for each item its own."""
    pool, items = [f"text {number}" for number in (5, 0, 3, 6, 1)], ["item 0", "item 6", "item 2"]
    choose = chooser(data_of(pool, items=items), "nearest")
    for text, rows in zip(items, choose(3, seed=0), strict=True):
        cosines = (embed([text]) @ embed(pool).T)[0]
        assert rows.tolist() == np.argsort(-cosines)[:3][::-1].tolist()
    assert [rows.tolist() for rows in choose(1, seed=0)] == [[1], [3], [4]] or choose(1, seed=0)[2].tolist() == [2]
    assert choose(5, seed=0)[0].tolist() == [3, 0, 2, 4, 1]


def test_alike_rows_are_looked_for_among_so_many():
    """Those are drawn by the seed, and no others are read or embedded; a smaller pool is looked through whole."""
    pool = [f"text {number} at {number % 7}" for number in range(LOOKED_THROUGH + 700)]
    seen = []

    def counting(texts):
        seen.append(list(texts))
        return embed(texts)

    drawn = []
    for seed in (0, 0, 1):
        seen.clear()
        (rows,) = chooser(data_of(pool, items=["item 3"]), "nearest", counting)(8, seed)
        read = max(seen, key=len)
        assert (len(seen), len(read), len(set(read))) == (2, LOOKED_THROUGH, LOOKED_THROUGH)
        assert {pool[row] for row in rows} <= set(read)
        assert {pool[row][-1] for row in rows} == {"3"}
        drawn.append(set(read))
    assert drawn[0] == drawn[1] != drawn[2]
    seen.clear()
    choose = chooser(data_of(pool, items=["item 3"]), "nearest", counting)
    for shots in (1, 2):
        choose(shots, 0)
    assert [len(texts) for texts in seen].count(LOOKED_THROUGH) == 1
    seen.clear()
    assert not choose(0, 1)[0].size
    assert not seen
    chooser(data_of(pool[:50], items=["item 3"]), "nearest", counting)(8, 0)
    assert sorted(map(len, seen)) == [1, 50]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("apart", [False, True])
def test_an_item_is_not_shown_to_itself(how, apart):
    """Nor is a row that reads the same, whether or not what is shown and asked are one split."""
    texts = [f"text {number % 5} at {number % 5}" for number in range(15)]  # each three times
    data = data_of(texts, [0, 1, 1] * 5, texts if apart else None)
    for shots in (1, 4, 12):
        for text, rows in zip(texts, chooser(data, how)(shots, seed=3), strict=True):
            assert text not in [texts[row] for row in rows]
            assert len(set(rows.tolist())) == shots
    with pytest.raises(DataError, match="mine: expected 13 rows to show, other than the item, found 12; lower --shots"):
        chooser(data, how)(13, seed=3)


@pytest.mark.parametrize("how", HOW)
def test_too_few_rows_are_told(how):
    """One more than there are; of a pool without rows too."""
    data = data_of(spread(3), [0, 1, 0], ["item 3"])
    assert sorted(chooser(data, how)(3, seed=0)[0].tolist()) == [0, 1, 2]
    with pytest.raises(DataError, match="mine: expected 4 rows to show, other than the item, found 3; lower --shots"):
        chooser(data, how)(4, seed=0)
    with pytest.raises(DataError, match="expected 2 rows to show, other than the item, found 1"):
        chooser(data_of(spread(2), [0, 1]), how)(2, seed=0)


def test_balanced_needs_classes():
    with pytest.raises(ConfigError) as error:
        chooser(data_of(spread(3), items=["item"], labels=None), "balanced")
    assert str(error.value) == (
        "--demonstrations: expected random, first or nearest for mine, whose items have no classes, found balanced; "
        "give one of these."
    )
    for how in ("random", "first", "nearest"):
        chooser(data_of(spread(3), items=["item 0"], labels=None), how)(2, seed=0)


def test_rows_are_told_apart_by_what_stands_behind_the_answer_too(wordpiece):
    """Where a masked model is asked at the beginning of a text, nothing stands before."""
    template = Template("{{answer}}: {{text}}", {"bad": "old", "good": "new"})
    prompt = Prompt(name="mine", title="Mine", templates=(template,), labels=("bad", "good"))
    items = items_of([*sentences(6, seed=1), sentences(1, seed=1)[0]], [0, 1, 0, 1, 0, 1, 0])
    data = PromptData(prompt, items, items, True, (), "")
    for how in HOW:
        settings = PromptingSettings(shots=[3], seeds=[0], demonstrations=how)
        (run,) = PromptStudy(prompted(micro("bert-micro", wordpiece), wordpiece), data, settings).ask(3).runs
        for number, rows in enumerate(run.shown):
            alike = {0, 6} if number in (0, 6) else {number}
            assert len(rows) == 3
            assert not alike & set(rows.tolist())


def prompted(model, tokenizer, batch_tokens=64):
    return PromptedModel(
        "micro", model, tokenizer, Accelerator(cpu=True), masked_scoring="mask", batch_tokens=batch_tokens
    )


@torch.no_grad()
def naive_mean(model, ids):
    states = model.base_model(torch.tensor([ids])).last_hidden_state[0]
    mean = states.mean(0)
    return (mean / mean.norm()).numpy()


@pytest.mark.parametrize("name", MICROS)
def test_vectors_are_means_of_the_last_layer(name, bpe, wordpiece):
    """Of length 1, over all tokens and no padding, special ones included; of a text that is too long over its end."""
    texts = [*sentences(6, seed=1), "a", " ".join(sentences(6, seed=2))]
    for tokenizer in (copy.deepcopy(bpe), copy.deepcopy(wordpiece)):
        tokenizer.model_max_length = 40
        model = micro(name, tokenizer).eval()
        for batch_tokens in (1, 600, 10**5):
            ask = prompted(model, tokenizer, batch_tokens)
            found = ask.embed(texts)
            assert found.dtype == np.float32
            assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-6)
            begin, end = [tokenizer.cls_token_id], [tokenizer.sep_token_id] if ask.prompt_tokenizer.masked else []
            room = ask.prompt_tokenizer.room - 1 - len(end)
            pieces = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
            assert len(pieces[-1]) > room
            expected = [naive_mean(model, [*begin, *ids[-room:], *end]) for ids in pieces]
            assert np.abs(found - np.array(expected)).max() < 1e-5
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_vector_of_nothing(bpe):
    """That of the special tokens; where a tokenizer puts none around a text, of what a decoder begins one with."""
    backend = copy.deepcopy(bpe.backend_tokenizer)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    bare = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", model_max_length=40)
    model = micro("gpt2-micro", bpe).eval()
    for tokenizer, begin in ((bpe, bpe.cls_token_id), (bare, bare.eos_token_id)):
        for texts in ([""], ["a", "", "the old house"]):
            found = prompted(model, tokenizer, 10**5).embed(texts)
            assert np.abs(found[texts.index("")] - naive_mean(model, [begin])).max() < 1e-5
    assert np.abs(found[2] - naive_mean(model, bare("the old house").input_ids)).max() < 1e-5
