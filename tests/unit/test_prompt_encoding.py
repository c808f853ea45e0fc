"""Prompts as tokens: which of them are the answer's, what stands around a text, and what is left out to make it fit."""

import copy
import random

import numpy as np
import pytest
from conftest import documents, sentences
from micros import micro
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import TokenizerSettings, train_tokenizer
from hfrep.errors import DataError
from hfrep.evaluation.prompting.encoding import PromptTokenizer, Question
from hfrep.evaluation.prompting.fitting import fitted
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.tasks.prompt import Prompt

BYTES = pre_tokenizers.ByteLevel.alphabet()


def prompt_of(**fields):
    return Prompt(**{"name": "mine", "title": "Mine", "templates": ()} | fields)


def by_hand(*merges, signs="abcd ", bytewise=False, **special):
    """A BPE of single `signs`, or of bytes, and of `merges` in their order, which knows no words."""
    alphabet = sorted(BYTES) if bytewise else list(signs)
    pieces = [*special.values(), *alphabet, *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, list(merges)))
    if bytewise:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


@pytest.fixture(scope="module")
def unigram():
    settings = TokenizerSettings(algorithm="unigram", vocab_size=112, any_vocab_size=True)
    return train_tokenizer(lambda: documents(300), settings)


@pytest.fixture(scope="module")
def gpt2_like(bpe):
    """Byte-level, an end token and no begin token, and no frame around a text."""
    backend = copy.deepcopy(bpe.backend_tokenizer)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


@pytest.fixture(params=["wordpiece", "bpe", "unigram"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def encoded(tokenizer, before, *choices, after="", masked=False, room=10**6):
    (answers,) = PromptTokenizer(tokenizer, room, masked)([Asked(before, choices, after)])
    return answers


def scored(tokenizer, answer):
    """The answer's tokens as the vocabulary spells them."""
    return tokenizer.convert_ids_to_tokens(answer.ids[answer.first : answer.end])


@pytest.mark.parametrize(
    ("merges", "before", "answer", "pieces"),
    [
        ([("a", "b")], "a", "b", ["ab"]),
        ([("a", "b")], "ca", "bd", ["ab", "d"]),
        ([("a", "b"), ("ab", "c")], "dab", "c", ["abc"]),
        ([("a", "b")], "ca", "d", ["d"]),
        ([("a", "b")], "ca ", "b", [" ", "b"]),
        ([(" ", "b")], "ca ", "b", [" b"]),
        ([("a", " ")], "ca ", "b", ["a ", "b"]),
        ([("a", " "), ("a ", "b")], "ca  ", "b", ["a ", " ", "b"]),
    ],
    ids=["from both sides", "and one behind", "longer", "no merge", "blank", "blank merged", "blank before", "blanks"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_answer_tokens_begin_with_the_first_that_touches_it(masked, merges, before, answer, pieces):
    """A token that reaches over the boundary is the answer's, and so is one of the blank before it."""
    tokenizer = by_hand(*merges, eos_token="</s>")
    (made,) = encoded(tokenizer, before, answer, masked=masked)
    assert scored(tokenizer, made) == pieces
    begin = [] if masked or made.first > 1 or tokenizer.eos_token_id not in made.ids else ["</s>"]
    assert "".join(tokenizer.convert_ids_to_tokens(made.ids)) == "".join([*begin, before, answer])


@pytest.mark.parametrize("masked", [False, True])
def test_choices_may_begin_at_different_tokens(masked):
    """Each is tokenized with what stands before it, so that one may take a piece of that and another not."""
    tokenizer = by_hand(("a", "b"))
    one, other = encoded(tokenizer, "ca", "b", "d", masked=masked)
    assert (scored(tokenizer, one), one.first) == (["ab"], 1)
    assert (scored(tokenizer, other), other.first) == (["d"], 2)


@pytest.mark.parametrize(
    ("merges", "before", "answer", "text"),
    [
        ([], "caf", "é", "é"),
        ([], "café 日本", "語", "語"),
        ([], "🦄é: ", "🦄!", " 🦄!"),
        ([("Ġ", "ð")], "é: ", "🦄", " 🦄"),
        ([("f", "Ã")], "caf", "é", "fé"),
        ([("©", "b")], "é", "b", "\ufffdb"),
    ],
    ids=["two bytes", "three", "four", "blank and first byte", "sign before and first byte", "last byte before"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_characters_of_several_bytes(masked, merges, before, answer, text):
    """All bytes of the answer are scored and none before, but where one token has some of both."""
    tokenizer = by_hand(*merges, bytewise=True, eos_token="</s>")
    (made,) = encoded(tokenizer, before, answer, masked=masked)
    assert tokenizer.decode(made.ids[made.first : made.end]) == text
    assert tokenizer.decode(made.ids) == before + answer


@pytest.mark.parametrize("masked", [False, True])
def test_byte_level_answers_begin_with_their_blank(bpe, masked):
    """Whatever a word is cut into; and whether or not the tokenizer counts the blank to its word."""
    made = encoded(bpe, "the old house: ", "garden", "unbelievable", "Zürich", masked=masked)
    assert [bpe.decode(one.ids[one.first : one.end]) for one in made] == [" garden", " unbelievable", " Zürich"]
    assert len({one.first for one in made}) == 1
    trimming = copy.deepcopy(bpe)
    trimming.backend_tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    assert encoded(trimming, "the old house: ", "garden", "unbelievable", "Zürich", masked=masked) == made


@pytest.mark.parametrize("masked", [False, True])
def test_word_pieces_have_no_blank(wordpiece, masked):
    """Case and accents are folded before, which moves no boundary."""
    for before, answer, text in (
        ("the old ", "house", "house"),
        ("The OLD café: ", "Río", "rio"),
        ("river", "s", "##s"),
        ("unbeliev", "able", "able"),
    ):
        made = encoded(wordpiece, before, answer, masked=masked)[0]
        assert "".join(scored(wordpiece, made)).replace("##", "").endswith(text.replace("##", ""))
        # Not one of them could be left out.
        shorter = wordpiece.decode(made.ids[: made.first], skip_special_tokens=True).replace(" ", "")
        assert before.lower().replace(" ", "").replace("é", "e").startswith(shorter)
    assert scored(wordpiece, encoded(wordpiece, "the old ", "house", masked=masked)[0])[0] in ("house", "ho", "h")


def test_special_tokens_in_a_text_are_text(bpe):
    """Of the context or of an answer: neither ends a prompt, nor is it a mask."""
    (made,) = encoded(bpe, "a </s> b ", "<mask>", after=" <s>", masked=True)
    assert [number for number in made.ids if number in bpe.all_special_ids] == [bpe.cls_token_id, bpe.sep_token_id]
    assert bpe.decode(made.ids[made.first : made.end]) == " <mask>"


def test_a_decoder_begins_a_text_and_leaves_its_end_open(bpe, wordpiece, gpt2_like):
    """Whatever the tokenizer was made for, one for encoders too; a frame of no tokens stays one."""
    for tokenizer in (bpe, wordpiece):
        begin = (tokenizer.cls_token_id,)
        for one in (tokenizer, decoder_tokenizer(tokenizer)):
            assert PromptTokenizer(one, 64, masked=False).frame == (begin, ())
            (made,) = encoded(one, "the old ", "house")
            assert made.ids[:1] == begin
            assert tokenizer.sep_token_id not in made.ids
            assert made.end == len(made.ids)
            plain = tokenizer("the old house", add_special_tokens=False).input_ids
            assert list(made.ids[1:]) == plain
    assert PromptTokenizer(gpt2_like, 64, masked=False).frame == ((), ())
    longer = copy.deepcopy(wordpiece)
    marks = [(token, longer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[MASK]")]
    longer.backend_tokenizer.post_processor = processors.TemplateProcessing("[CLS] [MASK] $A", special_tokens=marks)
    for before in ("", "the old "):
        (made,) = encoded(longer, before, "house")
        assert made.ids[:2] == tuple(number for _, number in marks)
        assert longer.decode(made.ids[2:]) == f"{before}house"


def test_an_encoder_keeps_its_frame(bpe, wordpiece):
    """And the answer may stand in the middle: nothing behind it is scored but what one token has of both."""
    for tokenizer in (bpe, wordpiece):
        frame = (tokenizer.cls_token_id,), (tokenizer.sep_token_id,)
        assert PromptTokenizer(tokenizer, 64, masked=True).frame == frame
        made = encoded(tokenizer, "the old ", "house", "green garden", after=" near the river.", masked=True)
        for one, answer in zip(made, ("house", "green garden"), strict=True):
            assert list(one.ids) == tokenizer(f"the old {answer} near the river.").input_ids
            assert tokenizer.decode(one.ids[one.first : one.end]).strip() == answer
        first = encoded(tokenizer, "", "house", after=" of the old", masked=True)[0]
        assert first.first == 1
        assert tokenizer.decode(first.ids[1 : first.end]) == "house"
    (made,) = encoded(by_hand(("b", "c")), "a", "b", after="cd", masked=True)
    assert (made.first, made.end, len(made.ids)) == (1, 2, 3)


def test_something_stands_before_the_first_scored_token(bpe, gpt2_like):
    """The frame's begin token; where it has none, that or the end token, where a text begins with its answer only."""
    begun = copy.deepcopy(gpt2_like)
    begun.bos_token = "<s>"
    for tokenizer, begin in ((gpt2_like, gpt2_like.eos_token_id), (begun, begun.bos_token_id)):
        for before in ("", " "):
            (made,) = encoded(tokenizer, before, "house")
            assert (made.ids[0], made.first) == (begin, 1)
            assert tokenizer.decode(made.ids[1:]) == f"{before}house"
        (made,) = encoded(tokenizer, "the ", "house")
        assert begin not in made.ids
        assert tokenizer.decode(made.ids) == "the house"
    (made,) = encoded(decoder_tokenizer(bpe), "", "house")
    assert (made.ids[0], made.first, made.ids.count(bpe.cls_token_id)) == (bpe.cls_token_id, 1, 1)
    tokenizer = by_hand(("a", "b"), eos_token="</s>")
    (made,) = encoded(tokenizer, "a", "b")  # whose only token begins the text
    assert tokenizer.convert_ids_to_tokens(made.ids) == ["</s>", "ab"]
    with pytest.raises(DataError, match=r"expected an eos \(or sep\) token, which ends a document, found none"):
        encoded(by_hand(), "", "b")


def test_the_frame_has_no_padding(bpe, wordpiece):
    """A tokenizer may come with padding and truncation switched on, on either side."""
    for tokenizer in (bpe, wordpiece):
        for side in ("left", "right"):
            padding = copy.deepcopy(tokenizer)
            padding.backend_tokenizer.enable_padding(direction=side, length=12, pad_id=padding.pad_token_id)
            padding.backend_tokenizer.enable_truncation(2)
            frame = (tokenizer.cls_token_id,), (tokenizer.sep_token_id,)
            assert PromptTokenizer(padding, 64, masked=True).frame == frame
            assert PromptTokenizer(padding, 64, masked=False).frame == (frame[0], ())


@pytest.mark.parametrize("masked", [False, True])
def test_an_answer_that_no_token_touches_is_refused(wordpiece, masked):
    """As BERT's normalizer drops signs that have no width."""
    for after in ("", " house") if masked else ("",):
        with pytest.raises(DataError) as error:
            encoded(wordpiece, "the old ", "house", "\u200b", after=after, masked=masked)
        assert str(error.value) == (
            "the prompt: expected answers of which the tokenizer keeps something, found '\\u200b'; say it in other "
            "words, or give another tokenizer."
        )


def test_many_texts_are_told_apart(wordpiece, monkeypatch):
    """Texts that are tokenized in parts come out as they would alone, in their order."""
    monkeypatch.setattr("hfrep.evaluation.prompting.encoding.AT_ONCE", 2)
    asked = [Asked(f"{text} ", ("house", "garden")[: 1 + number % 2]) for number, text in enumerate(sentences(5, 0))]
    prompt_tokenizer = PromptTokenizer(wordpiece, 64, masked=False)
    assert list(prompt_tokenizer(asked)) == [next(prompt_tokenizer([one])) for one in asked]


def test_room_and_side_are_the_models(bpe, wordpiece):
    """The fewer of the model's positions and the tokenizer's length; a decoder is not given the last token."""
    for name, masked in (("gpt2-micro", False), ("bert-micro", True)):
        prompt_tokenizer = PromptTokenizer.of(micro(name, wordpiece), wordpiece)
        assert prompt_tokenizer == PromptTokenizer(wordpiece, 512, masked)
        assert prompt_tokenizer.with_room_for(12) == PromptTokenizer(wordpiece, 512, masked, writes=12)
        (made,) = encoded(wordpiece, "the old ", "house", masked=masked)
        assert prompt_tokenizer.length(made) == len(made.ids) - (not masked)
    short = copy.deepcopy(bpe)
    short.model_max_length = 20
    assert PromptTokenizer.of(micro("gpt2-micro", bpe), short).room == 20


def brute_force(prompt_tokenizer, prompt, asked, numbers, texts):
    """Answers and number of dropped demonstrations, the oldest left out one by one until it fits."""
    for dropped in range(len(numbers) + 1):
        (answers,) = prompt_tokenizer([asked.behind([texts[number] for number in numbers[dropped:]], prompt)])
        if max(map(prompt_tokenizer.length, answers)) <= prompt_tokenizer.room:
            break
    return answers, dropped


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("separator", ["\n\n", " ", "###"])
def test_as_many_demonstrations_are_dropped_as_needed(separator, masked, tokenizer):
    """The oldest first and not one too many: what a loop finds that leaves one out at a time, for many lengths."""
    draw = random.Random(0)
    prompt = prompt_of(separator=separator, instruction="Say what is near.")
    texts = [" ".join(text.split()[: draw.choice((1, 2, 4, 12))]) for text in sentences(40, seed=1)]
    asked = [Asked(f"{' '.join(text.split()[:4])} ", ("house", "small garden")) for text in sentences(30, seed=2)]
    shown = [np.array(draw.sample(range(40), draw.randint(0, 16)), np.int64) for _ in asked]
    prompt_tokenizer = PromptTokenizer(tokenizer, 90, masked)
    found = fitted(prompt_tokenizer, prompt, asked, shown, texts, "refuse")
    expected = [brute_force(prompt_tokenizer, prompt, *pair, texts) for pair in zip(asked, shown, strict=True)]
    assert [(one.answers, one.dropped) for one in found] == expected
    assert all(one.cut == 0 for one in found)
    assert {one.dropped == 0 for one in found} == {True, False}
    assert len({one.dropped for one in found}) > 5


def test_demonstrations_may_take_more_tokens_together_than_alone():
    """As with GPT-2, whose two line ends are one token at the end of a text and two before a word."""
    tokenizer = by_hand((" ", "a"), ("a", "b"), ("ab", "c"), ("abc", "d"), eos_token="</s>")
    prompt, texts = prompt_of(separator=" "), ["abcd"] * 24  # two tokens with the blank behind it, else four
    asked = [Asked("ddd", ("c",))] * 20
    shown = [np.arange(24)] * 20
    for room in range(4, 24 * 4):
        prompt_tokenizer = PromptTokenizer(tokenizer, room, masked=False)
        (found,) = fitted(prompt_tokenizer, prompt, asked[:1], shown[:1], texts, "refuse")
        assert (found.answers, found.dropped) == brute_force(prompt_tokenizer, prompt, asked[0], shown[0], texts)
        assert found.group == 0


def test_few_texts_are_tokenized_to_find_what_fits(bpe):
    """Not one for each demonstration that is left out: the whole of it, a guess by the parts' lengths, and a step."""
    tokenized = []

    class Counting(PromptTokenizer):
        def __call__(self, asked):
            tokenized.append(len(asked))
            return super().__call__(asked)

    texts = sentences(100, seed=1)
    (found,) = fitted(
        Counting(bpe, 200, masked=False), prompt_of(), [Asked("the ", ("house",))], [np.arange(100)], texts, "refuse"
    )
    assert found.dropped > 80
    assert sum(tokenized) <= 4


def test_groups_are_those_of_equal_demonstrations(bpe):
    """Of what is kept: items that were to be shown different ones may end in one group, and others be parted."""
    texts = ["the old house", "a small boat", "the river near the garden", "red"]
    orders = [[0, 1, 2, 3], [1, 0, 2, 3], [1, 0, 2, 3], [0, 1, 2, 3], [3], []]
    items = ["near the river", "often", "near the river near the house", "near the river", "a", "b"]
    asked = [Asked(f"{item} ", ("house",)) for item in items]
    shown = [np.array(order, np.int64) for order in orders]
    whole = fitted(PromptTokenizer(bpe, 200, masked=False), prompt_of(), asked, shown, texts, "refuse")
    assert [one.group for one in whole] == [0, 1, 1, 0, 2, 3]
    prompt_tokenizer = PromptTokenizer(bpe, 30, masked=False)
    fewer = fitted(prompt_tokenizer, prompt_of(), asked, shown, texts, "refuse")
    kept = [tuple(order[one.dropped :]) for order, one in zip(orders, fewer, strict=True)]
    assert len(set(kept)) < len(set(map(tuple, orders))) + 1
    for one, its in zip(fewer, kept, strict=True):
        assert [its == other for other in kept] == [one.group == other.group for other in fewer]
    assert any(fewer[0].group == other.group for other in fewer[1:3])


def test_a_model_of_just_the_room_keeps_all(wordpiece):
    """One token less drops a demonstration; a decoder needs room for all but the last token."""
    asked, texts = [Asked("the old ", ("house", "unbelievable garden"))], ["a small boat", "the river"]
    shown = [np.array([0, 1])]
    for masked in (False, True):
        longest = max(len(one.ids) for one in encoded(wordpiece, asked[0].behind(texts, prompt_of()).before, "house"))
        (whole,) = fitted(PromptTokenizer(wordpiece, 10**6, masked), prompt_of(), asked, shown, texts, "refuse")
        longest = max(len(one.ids) for one in whole.answers) - (not masked)
        for room, dropped in ((longest, 0), (longest - 1, 1)):
            (one,) = fitted(PromptTokenizer(wordpiece, room, masked), prompt_of(), asked, shown, texts, "refuse")
            assert one.dropped == dropped


def long_item(masked):
    return Asked("near the old house of the small teacher by the river: ", ("red", "large garden"), "." * masked)


@pytest.mark.parametrize("masked", [False, True])
def test_an_item_too_long_by_itself_is_refused(bpe, masked):
    """Alone or behind demonstrations, with how long it is."""
    asked = [Asked("red ", ("red",)), long_item(masked)]
    length = max(
        map(PromptTokenizer(bpe, 1, masked).length, encoded(bpe, asked[1].before, *asked[1].choices, masked=masked))
    )
    length += masked  # the full stop
    for shown in ([], [0, 1]):
        numbers = [np.array(shown, np.int64)] * 2
        with pytest.raises(DataError) as error:
            fitted(PromptTokenizer(bpe, 20, masked), prompt_of(), asked, numbers, ["a boat", "a house"], "refuse")
        assert str(error.value) == (
            "prompt mine: expected items of at most the 20 tokens that the model was made for, without demonstrations, "
            f"found {length} tokens in {asked[1].before[:40]!r}…; leave such items out, shorten the template, or give "
            "--long_items cut."
        )
        fitted(PromptTokenizer(bpe, length, masked), prompt_of(), asked, numbers, ["a boat", "a house"], "refuse")


@pytest.mark.parametrize("masked", [False, True])
def test_the_beginning_of_a_long_item_is_cut(bpe, masked):
    """Behind the begin token, all choices by as much, which is counted; what is left is the end of the whole text."""
    asked, shown = [Asked("red ", ("red",)), long_item(masked)], [np.array([0, 1])] * 2
    texts, prompt_tokenizer = ["a boat", "a house"], PromptTokenizer(bpe, 24, masked)
    short, cut = fitted(prompt_tokenizer, prompt_of(), asked, shown, texts, "cut")
    assert (short.dropped, short.cut) == (0, 0)
    whole = encoded(bpe, asked[1].before, *asked[1].choices, after=asked[1].after, masked=masked)
    excess = max(map(prompt_tokenizer.length, whole)) - 24
    assert (cut.dropped, cut.cut) == (2, excess)
    assert max(map(prompt_tokenizer.length, cut.answers)) == 24
    for one, other in zip(cut.answers, whole, strict=True):
        assert one.ids == (bpe.cls_token_id, *other.ids[1 + excess :])
        assert one.ids[one.first : one.end] == other.ids[other.first : other.end]
        assert bpe.decode(one.ids[one.first : one.end]) == bpe.decode(other.ids[other.first : other.end])
    begins = {one.ids[: one.first] for one in cut.answers}
    assert len(begins) == 1


def test_a_cut_text_without_begin_token_keeps_something_before_its_answer(gpt2_like):
    """As little as one token, behind which the answer is scored."""
    asked = [long_item(False)]
    answers = encoded(gpt2_like, asked[0].before, *asked[0].choices)
    longest = max(len(one.ids) - one.first for one in answers)
    (one,) = fitted(
        PromptTokenizer(gpt2_like, longest, masked=False), prompt_of(), asked, [np.array([], int)], [], "cut"
    )
    assert [other.first for other in one.answers] == [1, 1]
    assert one.answers[0].ids[0] == answers[0].ids[answers[0].first - 1]
    with pytest.raises(DataError, match=f"found {len(answers[1].ids) - 1} tokens in .*; shorten the answers"):
        fitted(
            PromptTokenizer(gpt2_like, longest - 1, masked=False), prompt_of(), asked, [np.array([], int)], [], "cut"
        )


@pytest.mark.parametrize("masked", [False, True])
def test_answers_longer_than_the_room_are_refused(bpe, masked):
    """There is nothing left to cut."""
    asked = [Asked("the ", ("red", " ".join(["garden"] * 30)))]
    with pytest.raises(DataError, match=r"at most the 16 tokens that the model was .*; shorten the answers") as error:
        fitted(PromptTokenizer(bpe, 16, masked), prompt_of(), asked, [np.array([], int)], [], "cut")
    assert "\n" not in str(error.value)


def test_questions_are_told_their_group(wordpiece):
    """Nothing is dropped and nothing cut where nothing is too long."""
    prompt_tokenizer = PromptTokenizer(wordpiece, 64, masked=True)
    asked = [Asked("the ", ("house",), " of")]
    (one,) = fitted(prompt_tokenizer, prompt_of(), asked, [np.array([], int)], [], "refuse")
    assert one == Question(0, next(prompt_tokenizer(asked)))


def test_a_cut_item_keeps_the_instruction(bpe):
    """What all items share says what is asked; the item's own beginning goes."""
    prompt = Prompt(**{**vars(prompt_of()), "instruction": "paints the river"})
    asked = [long_item(False)]
    (question,) = fitted(PromptTokenizer(bpe, 40, False), prompt, asked, [np.array([], int)], [], "cut")
    text = bpe.decode(question.answers[0].ids, skip_special_tokens=True)
    assert text.startswith("paints the river" + prompt.separator)
    assert question.cut > 0
    assert text.endswith(asked[0].before[-8:] + asked[0].choices[0])
