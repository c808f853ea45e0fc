"""Answers scored by masked models, against one forward pass at a time over text masked by hand."""

import copy

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import sentences
from micros import DECODERS, MICROS, micro, opinionated

from hfrep.errors import DataError
from hfrep.evaluation.prompting.encoding import PromptTokenizer, Question
from hfrep.evaluation.prompting.masked import MaskedScorer
from hfrep.evaluation.prompting.rendering import Asked

MASKED = [name for name in MICROS if name not in DECODERS]
SCORINGS = ["mask", "pseudo_likelihood"]
CHOICES = ("a", "house", "large old", "it's red")  # of one token and of several


@pytest.fixture(params=["wordpiece", "bpe"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def model_of(name, tokenizer):
    return opinionated(micro(name, tokenizer), 4)


def scorer(model, tokenizer, scoring, batch_tokens=10**5):
    return MaskedScorer(model, tokenizer, Accelerator(cpu=True), scoring=scoring, batch_tokens=batch_tokens)


def questions_of(tokenizer, number=6):
    """Texts of different lengths, the answer at the end, in the middle or at the beginning, of one to four choices."""
    asked = []
    for place, text in enumerate(sentences(number, seed=1)):
        before, after = ((f"{text} It is ", "."), ("The ", f" {text}"), ("", f": {text}"))[place % 3]
        asked.append(Asked(before, CHOICES[: 1 + place % 4], after))
    return [Question(0, answers) for answers in PromptTokenizer(tokenizer, 512, masked=True)(asked)]


@torch.no_grad()
def naive(model, tokenizer, answer, scoring):
    """The answer's tokens masked together and each asked for; or each masked by itself, and the sum."""
    places, total = range(answer.first, answer.end), 0.0
    for masked in [places] if scoring == "mask" else [[place] for place in places]:
        ids = [tokenizer.mask_token_id if place in masked else token for place, token in enumerate(answer.ids)]
        nats = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        total += sum(nats[place, answer.ids[place]].item() for place in masked)
    return total


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("name", MASKED)
def test_answers_are_those_of_a_forward_over_masked_text(name, scoring, tokenizer):
    """For answers of one token and of several, and however many go through the model at once."""
    model, questions = model_of(name, tokenizer), questions_of(tokenizer)
    expected = [[naive(model, tokenizer, answer, scoring) for answer in one.answers] for one in questions]
    for batch_tokens in (100, 10**5):
        found = scorer(model, tokenizer, scoring, batch_tokens)(questions)
        assert found.nats.shape == found.tokens.shape == found.greedy.shape == (6, 4)
        assert not found.greedy.any()
        for row, (question, nats) in enumerate(zip(questions, expected, strict=True)):
            number = len(nats)
            assert found.nats[row, :number].tolist() == pytest.approx(nats, abs=1e-5, rel=1e-5)
            assert found.tokens[row, :number].tolist() == [one.end - one.first for one in question.answers]
            assert np.isneginf(found.nats[row, number:]).all()
            assert not found.tokens[row, number:].any()
    assert found.tokens.max() > 2
    assert (found.tokens == 1).any()


@pytest.mark.parametrize("name", MASKED)
def test_how_many_go_through_at_once_changes_nothing(name, wordpiece):
    """To a hundred-thousandth of a nat, and the same for a question whatever others are asked."""
    model, questions = model_of(name, wordpiece), questions_of(wordpiece)
    for scoring in SCORINGS:
        whole = scorer(model, wordpiece, scoring)(questions)
        for batch_tokens in (1, 50, 333):
            other = scorer(model, wordpiece, scoring, batch_tokens)(questions)
            used = whole.tokens > 0
            assert np.abs(whole.nats[used] - other.nats[used]).max() < 1e-5
        alone = scorer(model, wordpiece, scoring)(questions[3:4])
        assert alone.nats[0].tolist() == pytest.approx(whole.nats[3].tolist(), abs=1e-5)


@pytest.mark.parametrize("name", MASKED)
def test_both_scorings_agree_on_answers_of_one_token(name, tokenizer):
    """And only there: what is seen of a longer answer says something of the rest."""
    model, questions = model_of(name, tokenizer), questions_of(tokenizer)
    one, other = (scorer(model, tokenizer, scoring)(questions) for scoring in SCORINGS)
    single, several = one.tokens == 1, one.tokens > 1
    assert np.abs(one.nats[single] - other.nats[single]).max() < 1e-5
    assert np.abs(one.nats[several] - other.nats[several]).min() > 1e-4


@pytest.mark.parametrize("scoring", SCORINGS)
def test_each_different_answer_is_scored_once(scoring, wordpiece):
    """As many rows go through the model as there are different masked texts, and equal answers tie exactly."""
    model, questions = model_of("bert-micro", wordpiece), questions_of(wordpiece)
    rows = []
    hook = model.base_model.encoder.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    repeated = [*questions, *questions[::-1], Question(5, questions[3].answers[::-1])]
    found = scorer(model, wordpiece, scoring, 200)(repeated)
    hook.remove()
    tried = 2  # times that the head is tried on a short text first
    different = {answer for question in questions for answer in question.answers}
    assert sum(rows[tried:]) == (len(different) if scoring == "mask" else sum(one.end - one.first for one in different))
    assert len(rows) > 1
    assert np.array_equal(found.nats[:6], found.nats[6:12][::-1])
    assert found.nats[12].tolist() == found.nats[3][::-1].tolist()


def test_model_is_as_it_was(wordpiece):
    """In eval mode, and its class gives logits at every position again."""
    model = model_of("bert-micro", wordpiece).train()
    scorer(model, wordpiece, "mask")(questions_of(wordpiece, 2))
    assert not model.training
    assert model(torch.tensor([[2, 8, 3]])).logits.shape == (1, 3, model.config.vocab_size)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_tokenizer_without_mask_is_told(scoring, wordpiece):
    """When the scorer is made, before anything is scored."""
    bare = copy.deepcopy(wordpiece)
    bare.mask_token = None
    bare.name_or_path = "mine"
    with pytest.raises(DataError) as error:
        scorer(model_of("bert-micro", wordpiece), bare, scoring)
    assert str(error.value) == (
        "tokenizer mine: expected cls, sep and mask tokens, with which a masked language model scores, found no mask "
        "token; give the tokenizer the model was trained with."
    )
