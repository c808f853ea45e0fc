"""Answers scored with shared beginnings are those of each text whole by itself, for less work."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import sentences
from micros import DECODERS, micro, opinionated

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.evaluation.prompting.causal import CausalScorer
from hfrep.evaluation.prompting.encoding import PromptTokenizer
from hfrep.evaluation.prompting.fitting import fitted
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.models.activations import fuse_activations
from hfrep.tasks.prompt import Prompt, Template

LENGTH = 192
PROMPT = Prompt(name="tiny", title="tiny", templates=(Template("{{text}} {{answer}}", ("a", "b")),), separator="\n")
SHOWN = [f"{text} old" for text in sentences(3, seed=5)]


@pytest.fixture(scope="module")
def tokenizer(bpe):
    made = decoder_tokenizer(bpe)
    made.model_max_length = LENGTH
    return made


def model_of(name, tokenizer):
    return opinionated(micro(name, tokenizer, length=LENGTH)).eval()


def questions(tokenizer, model, *, shown=SHOWN, number=10, choices=("old", "the green river", "a small house near")):
    asked = [
        Asked(f"{text[: 20 + 3 * place]} ", choices[: 2 + place % 2])
        for place, text in enumerate(sentences(number, seed=1))
    ]
    prompt_tokenizer = PromptTokenizer.of(model, tokenizer)
    return fitted(prompt_tokenizer, PROMPT, asked, [np.arange(len(shown))] * number, shown, "refuse")


def naive(model, answer):
    with torch.no_grad():
        nats = torch.log_softmax(model(torch.tensor([answer.ids])).logits.double(), -1)[0]
    scored = range(answer.first, answer.end)
    greedy = all(nats[at - 1].argmax() == answer.ids[at] for at in scored)
    return sum(nats[at - 1, answer.ids[at]].item() for at in scored), greedy


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("shown", [[], SHOWN], ids=["no shots", "three shots"])
def test_answers_are_as_likely_as_in_their_texts_alone(name, shown, tokenizer):
    model = model_of(name, tokenizer)
    asked = questions(tokenizer, model, shown=shown)
    scorer = CausalScorer(model, Accelerator(cpu=True))
    found = scorer(asked)
    assert scorer.branches, "the class can share what texts have in common"
    for question, nats, greedy in zip(asked, found.nats, found.greedy, strict=True):
        for place, answer in enumerate(question.answers):
            wanted, best = naive(model, answer)
            assert nats[place] == pytest.approx(wanted, abs=1e-4)
            assert greedy[place] == best
        assert np.isneginf(nats[len(question.answers) :]).all()
    assert found.tokens[0].tolist() == [answer.end - answer.first for answer in asked[0].answers] + [0]


def test_results_do_not_hang_on_the_batch_size(tokenizer):
    model = model_of("gpt2-micro", tokenizer)
    asked = questions(tokenizer, model)
    one, many = (CausalScorer(model, Accelerator(cpu=True), batch_tokens=size)(asked) for size in (1, 4096))
    used = np.isfinite(one.nats)
    np.testing.assert_allclose(one.nats[used], many.nats[used], rtol=0, atol=1e-5)


def fed(model, scorer, asked):
    """Tokens that go through the body while `asked` is scored, padding included."""
    numbers = []
    hook = model.base_model.register_forward_pre_hook(
        lambda body, args, kwargs: numbers.append((args or (kwargs["input_ids"],))[0].numel()), with_kwargs=True
    )
    scorer(asked)
    hook.remove()
    return sum(numbers)


def test_demonstrations_go_through_the_model_once_whatever_the_number_of_items(tokenizer):
    model = model_of("gpt2-micro", tokenizer)
    scorer = CausalScorer(model, Accelerator(cpu=True), batch_tokens=1)  # no padding
    asked = questions(tokenizer, model)
    scorer(asked[:2])  # the trial is over
    shared = len(tokenizer("\n".join(SHOWN) + "\n")["input_ids"])
    own = sum(question.answers[0].first - shared for question in asked)
    answers = sum(answer.end - answer.first for question in asked for answer in question.answers)
    assert fed(model, scorer, asked) <= shared + own + answers
    assert sum(len(answer.ids) for question in asked for answer in question.answers) > 10 * shared


def test_choices_of_one_token_cost_no_more_than_one(tokenizer):
    model = model_of("gpt2-micro", tokenizer)
    scorer = CausalScorer(model, Accelerator(cpu=True), batch_tokens=1)
    letters = [letter for letter in "abcdefgh" if len(tokenizer(letter, add_special_tokens=False)["input_ids"]) == 1]
    assert len(letters) > 3
    asked = {
        number: fitted(
            PromptTokenizer.of(model, tokenizer),
            PROMPT,
            [Asked("The river (", tuple(letters[:number]))],
            [np.zeros(0, np.int64)],
            [],
            "refuse",
        )
        for number in (1, len(letters))
    }
    scorer(asked[1])
    assert fed(model, scorer, asked[1]) == fed(model, scorer, asked[len(letters)])


def test_the_same_question_is_asked_once(tokenizer):
    model = model_of("gpt2-micro", tokenizer)
    scorer = CausalScorer(model, Accelerator(cpu=True), batch_tokens=1)
    asked = questions(tokenizer, model)
    scorer(asked)
    assert fed(model, scorer, [*asked, *asked]) == fed(model, scorer, asked)
    assert np.array_equal(scorer([*asked, *asked]).nats[len(asked) :], scorer(asked).nats)


@pytest.mark.parametrize("fault", ["wrong", "refused"])
def test_a_class_that_cannot_share_is_asked_the_plain_way(fault, tokenizer, monkeypatch):
    model = model_of("gpt2-micro", tokenizer)
    asked = questions(tokenizer, model)
    wanted = CausalScorer(model, Accelerator(cpu=True))(asked)
    forward = type(model.base_model).forward

    def faulty(self, *args, past_key_values=None, **kwargs):
        if past_key_values is not None and fault == "refused":
            raise ValueError("no such cache")
        return forward(self, *args, **kwargs | ({} if past_key_values is None else {"attention_mask": None}))

    monkeypatch.setattr(type(model.base_model), "forward", faulty)
    scorer = CausalScorer(model, Accelerator(cpu=True))
    found = scorer(asked)
    assert scorer.branches is False
    used = np.isfinite(wanted.nats)
    np.testing.assert_allclose(found.nats[used], wanted.nats[used], rtol=0, atol=1e-4)


def test_one_kernel_computes_what_the_stock_activation_does(tokenizer):
    model = model_of("gpt2-micro", tokenizer)
    ids = torch.randint(5, len(tokenizer), (4, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(ids).logits
        fuse_activations(model)
        after = model(ids).logits
    assert not any(type(module).__name__ == "NewGELUActivation" for module in model.modules())
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
