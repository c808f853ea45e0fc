"""Answers that a decoder writes, against a loop that takes the likeliest token each time; and what is right of them."""

import json

import pytest
import torch
from accelerate import Accelerator
from micros import DECODERS, micro, opinionated

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.errors import ConfigError
from hfrep.evaluation.prompting.encoding import PromptTokenizer, Question
from hfrep.evaluation.prompting.generated import written
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.tasks.items import ItemSettings, open_items
from hfrep.tasks.prompt import Prompt, read_prompt

CONTEXTS = ["the old house ", "near the small river a child often paints ", "", "red: ", "a boat. The boat sees "]
PAIRS = {
    "house": "maison",
    "river": "fleuve",
    "red": "rouge",
    "boat": "bateau",
    "garden": "jardin",
    "child": "enfant",
    "letter": "lettre",
    "window": "la fenêtre",
}
SHEET = """
title: Words
templates:
  - text: "English: {{english}}\\nFrench: {{answer}}"
scored: generated
answer: "{{french}}"
max_new_tokens: 12
separator: "\\n\\n"
"""


def prompt_of(**fields):
    given = {"name": "mine", "title": "Mine", "templates": (), "scored": "generated", "answer": "x", "stop": ()}
    return Prompt(**given | {"max_new_tokens": 8} | fields)


def model_of(name, tokenizer):
    """Fresh weights, large enough that what is written hangs on what stands before."""
    return opinionated(micro(name, tokenizer, seed=2, dropout=0.3), 6)


def questions_of(tokenizer, contexts=CONTEXTS):
    prompt_tokenizer = PromptTokenizer(tokenizer, 48, masked=False).with_room_for(1)
    return [Question(0, answers) for answers in prompt_tokenizer([Asked(context, ("red",)) for context in contexts])]


def write(model, tokenizer, prompt, contexts=CONTEXTS, batch_tokens=10**5):
    questions = questions_of(tokenizer, contexts)
    return written(model, tokenizer, questions, prompt, Accelerator(cpu=True), batch_tokens=batch_tokens)


@torch.no_grad()
def naive(model, tokenizer, context, prompt):
    """The likeliest token each time until one ends the text, a stop string is there or there are enough."""
    given, made = [tokenizer.cls_token_id, *tokenizer(context.rstrip(), add_special_tokens=False).input_ids], []
    model.eval()
    while len(made) < prompt.max_new_tokens:
        token = int(model(torch.tensor([[*given, *made]])).logits[0, -1].argmax())
        if token == tokenizer.sep_token_id:
            break
        made.append(token)
        if any(stop in tokenizer.decode(made) for stop in prompt.stop):
            break
    text = tokenizer.decode(made, skip_special_tokens=True).lstrip(" ")
    for stop in prompt.stop:
        text = text.split(stop)[0]
    return text.strip()


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_written_is_the_likeliest_token_each_time(name, bpe, wordpiece):
    """For contexts of different lengths, none among them, however many go through the model at once."""
    for tokenizer in (bpe, wordpiece):
        model = model_of(name, tokenizer).train()
        expected = [naive(model, tokenizer, context, prompt_of()) for context in CONTEXTS]
        assert len(set(expected)) > 3
        for batch_tokens in (1, 40, 10**5):
            assert write(model.train(), tokenizer, prompt_of(), batch_tokens=batch_tokens) == expected
        assert write(model, decoder_tokenizer(tokenizer), prompt_of()) == expected


@pytest.mark.parametrize("number", [1, 3])
def test_no_more_tokens_are_written_than_asked_for(number, bpe):
    model, prompt = model_of("gpt2-micro", bpe), prompt_of(max_new_tokens=number)
    found = write(model, bpe, prompt)
    assert found == [naive(model, bpe, context, prompt) for context in CONTEXTS]
    assert found != write(model, bpe, prompt_of(max_new_tokens=number + 1))


@pytest.fixture(scope="module")
def taught(bpe):
    """Two models that have learnt all pairs but the last three by heart, each text with its end."""
    tokenizer, models = decoder_tokenizer(bpe), {}
    texts = [f"English: {one}\nFrench: {other}" for one, other in [*PAIRS.items()][:-3]]
    rows = [[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts]
    ids = tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="right")
    labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
    for name in ("gpt2-micro", "llama-micro"):
        models[name] = micro(name, bpe, dropout=0.0)
        optimizer = torch.optim.AdamW(models[name].parameters(), lr=5e-3, weight_decay=0)
        for _ in range(80):
            models[name](**ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return models


@pytest.mark.parametrize("name", ["gpt2-micro", "llama-micro"])
def test_a_model_ends_its_text_itself(name, taught, bpe, monkeypatch):
    """Whatever else there would be room for; and what its config pads with, here a letter, is no part of the text."""
    contexts, model = [f"English: {english}\nFrench: " for english in PAIRS], taught[name]
    prompt = prompt_of(max_new_tokens=16)
    monkeypatch.setattr(model.generation_config, "pad_token_id", bpe.convert_tokens_to_ids("x"))
    found = write(model, bpe, prompt, contexts)
    assert found[:5] == [*PAIRS.values()][:5]
    assert found == [naive(model, bpe, context, prompt) for context in contexts]


def test_text_ends_before_the_first_stop_string(taught, bpe):
    """The first in the text, not in the list; within a token or over several; the rest of a batch goes on."""
    contexts, model = [f"English: {english}\nFrench: " for english in PAIRS], taught["gpt2-micro"]
    whole = write(model, bpe, prompt_of(max_new_tokens=16), contexts)
    for stop in (
        ("o",),
        ("u", "o"),
        ("ug", "o", "e"),
        ("eau", "s"),
        ("rouge",),
        ("q",),
        ("",)[:0],
        ("ie", "ar", "fle"),
    ):
        prompt = prompt_of(max_new_tokens=16, stop=stop)
        expected = [min((text.split(one)[0] for one in stop), key=len, default=text).strip() for text in whole]
        assert write(model, bpe, prompt, contexts) == expected
        assert [naive(model, bpe, context, prompt) for context in contexts] == expected


def test_writing_stops_where_the_answer_does(taught, bpe, monkeypatch):
    """No more steps are made than a text needs: at a stop string, if only a part of a token, and at the end token."""
    steps, model, context = [], taught["gpt2-micro"], ["English: red\nFrench: "]
    tokens = bpe(" rouge", add_special_tokens=False).input_ids
    assert bpe.decode(tokens[1]) == "ou"
    hook = model.base_model.register_forward_pre_hook(lambda module, args: steps.append(1))
    for stop, text, number in ((("ou",), "r", 2), (("o",), "r", 2), ((), "rouge", len(tokens) + 1)):
        steps.clear()
        assert write(model, bpe, prompt_of(max_new_tokens=16, stop=stop), context) == [text]
        assert len(steps) == number
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    steps.clear()
    assert write(model, bpe, prompt_of(max_new_tokens=16), context) == ["rouge"]
    assert len(steps) == len(tokens) + 1  # by the tokenizer's end token
    hook.remove()


def test_a_stop_string_is_looked_for_in_what_is_written_only(taught, bpe):
    """Not where the context ends and the answer begins."""
    contexts, model = ["English: red\nFrench: "], taught["gpt2-micro"]
    assert write(model, bpe, prompt_of(max_new_tokens=16, stop=(": r", ": ")), contexts) == ["rouge"]
    assert write(model, bpe, prompt_of(max_new_tokens=16, stop=(" ",)), contexts) == ["rouge"]


def test_a_stop_string_that_no_token_has_is_never_met(wordpiece):
    """A WordPiece has no line ends."""
    model, prompt = model_of("gpt2-micro", wordpiece), prompt_of(stop=("\n",))
    assert write(model, wordpiece, prompt) == [naive(model, wordpiece, context, prompt) for context in CONTEXTS]


def prompted(model, tokenizer):
    return PromptedModel("micro", model, tokenizer, Accelerator(cpu=True), masked_scoring="mask", batch_tokens=2048)


def own_data(folder, **fields):
    (folder / "words.yaml").write_text(SHEET)
    rows = [{"english": english, "french": french} for english, french in PAIRS.items()]
    rows[2]["french"] = " rouge "  # blanks do not count
    rows[3]["french"] = "bateaux"  # the beginning of an answer is not the answer
    rows[4]["french"] = "jardi"  # nor more than it
    files = {"train": rows[5:8], "validation": rows}
    for split, part in files.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    settings = ItemSettings(
        prompt=[str(folder / "words.yaml")],
        train_file=str(folder / "train.jsonl"),
        validation_file=str(folder / "validation.jsonl"),
        **fields,
    )
    return open_items(read_prompt(folder / "words.yaml"), settings)


@pytest.mark.parametrize("name", ["gpt2-micro", "llama-micro"])
def test_an_item_is_right_exactly_where_the_answer_is_written(name, taught, bpe, tmp_path):
    """As a whole and to the letter; texts are those of the loop, behind the sheet as one would write it."""
    data = own_data(tmp_path)
    study = PromptStudy(prompted(taught[name], bpe), data, PromptingSettings(shots=[0, 1], demonstrations="first"))
    for shots in (0, 1):
        outcome = study.ask(shots)
        (run,), (method,) = outcome.runs, study.methods
        texts = []
        for number, row in enumerate(data.items.rows):
            shown = 6 if number == 5 else 5  # an item is not shown to itself
            sheet = f"English: {[*PAIRS][shown]}\nFrench: {[*PAIRS.values()][shown]}\n\n" if shots else ""
            context = f"{sheet}English: {row['english']}\nFrench: "
            assert run.asked[number].before == context
            texts.append(naive(taught[name], bpe, context, data.prompt))
        assert list(run.texts) == texts
        right = [text == row["french"].strip() for text, row in zip(texts, data.items.rows, strict=True)]
        assert run.predictions(method).tolist() == right
        assert outcome.scores(method).mean == pytest.approx(sum(right) / 8)
        if shots == 0:
            assert right == [True, True, True, False, False, False, False, False]
        records = list(outcome.records(study.methods))
        assert [record["written"] for record in records] == texts
        assert [record["prediction"]["exact"] for record in records] == right
    assert study.guesses == {}


def test_demonstrations_leave_room_for_what_is_written(taught, bpe, tmp_path):
    """Those that do not are dropped, so that context and answer are no more than the model has room for."""
    data = own_data(tmp_path)
    bpe_short = decoder_tokenizer(bpe)
    bpe_short.model_max_length = 60
    study = PromptStudy(prompted(taught["gpt2-micro"], bpe_short), data, PromptingSettings(shots=[2], seeds=[0]))
    (run,) = study.ask(2).runs
    assert all(question.answers[0].first + 11 <= 60 for question in run.questions)
    assert {question.dropped for question in run.questions} > {1}


def test_more_than_the_model_has_room_for_is_refused(taught, bpe, tmp_path):
    data, short = own_data(tmp_path), decoder_tokenizer(bpe)
    for room in (11, 12):
        short.model_max_length = room
        words = (
            rf"prompt words: expected fewer max_new_tokens than the {room} tokens that micro was made for, found 12; l"
        )
        with pytest.raises(ConfigError, match=words):
            PromptStudy(prompted(taught["gpt2-micro"], short), data, PromptingSettings(shots=[0]))
    short.model_max_length = 40
    PromptStudy(prompted(taught["gpt2-micro"], short), data, PromptingSettings(shots=[0]))


def test_a_masked_model_writes_nothing(wordpiece, tmp_path):
    model = prompted(micro("bert-micro", wordpiece), wordpiece)
    with pytest.raises(ConfigError, match="prompt words: expected a causal language model, since its answers are writ"):
        PromptStudy(model, own_data(tmp_path), PromptingSettings())
