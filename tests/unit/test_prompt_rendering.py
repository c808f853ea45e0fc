"""Rows as text: what stands on both sides of the answer, what can stand there, and the sentence for each fault."""

import pytest

from hfrep.errors import DataError
from hfrep.evaluation.prompting.rendering import Asked, ask, content_free, right_choice, unconditioned
from hfrep.tasks.prompt import Prompt, Template

ROW = {"text": "It rained.", "one": "wet", "two": "dry", "options": ["wet", "dry", "cold"], "label": 1}


def prompt_of(text="{{text}} {{answer}}", choices=("{{one}}", "{{two}}"), without=None, **fields):
    """A prompt with one template."""
    template = Template(text, choices, without)
    return Prompt(**{"name": "mine", "title": "Mine", "templates": (template,), **fields})


def asked_of(prompt, row=ROW):
    return ask(prompt, prompt.templates[0], row)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("{{text}} It is {{answer}}", "It rained. It is ", ""),
        ("{{text}} It is {{answer}}.\n", "It rained. It is ", ".\n"),
        ("{{answer}}: {{text}}", "", ": It rained."),
        ("{{text}}{% if label %}\n{{answer}}{% endif %}", "It rained.\n", ""),
    ],
)
def test_an_answer_stands_where_the_template_says(text, before, after):
    """What is before and behind it is kept to the last blank, and filled in it reads as the template does."""
    asked = asked_of(prompt_of(text))
    assert (asked.before, asked.after) == (before, after)
    assert asked.unanswered == before + after
    assert [asked.filled(choice) for choice in (0, 1)] == [f"{before}wet{after}", f"{before}dry{after}"]


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({"choices": {"good": "fine", "bad": "awful"}, "labels": ("bad", "good")}, ("awful", "fine")),
        ({"choices": ("{{two}}", "so {{one}}")}, ("dry", "so wet")),
        ({"choices": "options"}, ("wet", "dry", "cold")),
        ({"choices": "options[:label]"}, ("wet",)),
        ({"choices": None, "scored": "greedy", "answer": "{{one}}er"}, ("weter",)),
    ],
    ids=["by label", "templates", "expression", "part of a column", "no choices"],
)
def test_choices_are_in_the_order_of_their_numbers(fields, choices):
    """Words stand in the order of the labels, not of the mapping; without choices the right answer is the only one."""
    assert asked_of(prompt_of(**fields)).choices == choices


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{answer}} or {{answer}}", "2 of them in '{{answer}} or {{answer}}'"),
        ("{{text}}{% if not label %}{{answer}}{% endif %}", "0 of them in"),
        ("{{answer | upper}}", "0 of them in"),
    ],
    ids=["two", "none for this row", "changed"],
)
def test_an_answer_has_one_place(text, found):
    with pytest.raises(DataError, match=r"prompt mine: expected {{answer}} once, found ") as error:
        asked_of(prompt_of(text))
    assert found in str(error.value)
    assert str(error.value).endswith("correct the template.")


@pytest.mark.parametrize(("choice", "number"), [("", 1), (" \n", 1), ("{{text[20:]}}", 1)])
def test_a_choice_of_nothing_is_refused(choice, number):
    """Blanks are nothing too; the row is told, in at most 80 characters."""
    with pytest.raises(
        DataError, match=f"mine: expected words for each choice, found nothing for choice {number}"
    ) as e:
        asked_of(prompt_of(choices=("{{one}}", choice)))
    assert f"of the row {str(ROW)[:77]}...; correct the file" in str(e.value)
    short = {"text": "", "one": "wet"}
    with pytest.raises(DataError, match=r"found nothing for choice 0 of the row \{'text': '', 'one': 'wet'\}; correct"):
        asked_of(prompt_of("{{one}} {{answer}}", choices=("{{text}}",)), short)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("text", "'It rained.' for the row"),
        ("options[:0]", r"\[\] for the row"),
        ("[one, label]", r"\['wet', 1\] for the row"),
        ("{'a': one}", r"\{'a': 'wet'\} for the row"),
        ("label", "1 for the row"),
    ],
    ids=["text", "no option", "a number among them", "mapping", "number"],
)
def test_an_expression_that_gives_no_list_of_texts_is_refused(expression, found):
    with pytest.raises(DataError) as error:
        asked_of(prompt_of(choices=expression))
    assert f"prompt mine: expected a list of texts by {expression!r}, found " in str(error.value)
    assert error.match(f"found {found}")
    assert str(error.value).endswith("correct the file, or `choices` in the prompt.")


def test_the_right_choice_is_one_that_there_is():
    prompt = prompt_of()
    asked = asked_of(prompt)
    assert [right_choice(prompt, asked, target, ROW) for target in (0, 1)] == [0, 1]
    words = "mine: expected a choice 2, which the row says is right, counted from 0, found 2 choices in the row {'text'"
    with pytest.raises(DataError, match=words) as error:
        right_choice(prompt, asked, 2, ROW)
    assert str(error.value).endswith("correct the file, or `label` in the prompt.")


def test_texts_are_what_is_taken_out_of_a_row_without_content():
    """All texts of it, each row with another stand-in; numbers stay, and the row itself does."""
    before = dict(ROW)
    rows = content_free(prompt_of(content_free=("N/A", "")), ROW)
    assert [row["text"] for row in rows] == [row["two"] for row in rows] == ["N/A", ""]
    assert [row["label"] for row in rows] == [1, 1]
    assert before == ROW
    assert [asked_of(prompt_of(choices=("yes", "no")), row).before for row in rows] == ["N/A ", " "]


@pytest.mark.parametrize(
    ("text", "fields", "before"),
    [
        ("{{text}}\nAnswer: {{answer}}", {}, " "),
        ("{{text}}\nAnswer: {{answer}}", {"unconditioned": "Answer:"}, "Answer: "),
        ("{{text}}\nAnswer:\n{{answer}}", {"unconditioned": "Answer:"}, "Answer:\n"),
        ("{{text}} ({{answer}}", {"unconditioned": "Then"}, "Then"),
        ("{{text}} {{answer}}.", {"unconditioned": "{{two}} and"}, "dry and "),
        ("{{text}} {{answer}}", {"unconditioned": "Answer:", "without": "So"}, "So "),
        ("{{text}} {{answer}}", {"unconditioned": "Answer:", "without": ""}, " "),
    ],
)
def test_choices_without_their_item(text, fields, before):
    """They stand behind what the template says, else the prompt, and behind the blank that is before them there."""
    prompt = prompt_of(text, **fields)
    asked = unconditioned(prompt, prompt.templates[0], ROW, asked_of(prompt))
    assert asked == Asked(before, ("wet", "dry"))


@pytest.mark.parametrize(
    ("instruction", "shown", "before"),
    [
        ("", [], "the item "),
        ("", ["one.", "two."], "one.\n---\ntwo.\n---\nthe item "),
        ("Say.", [], "Say.\n---\nthe item "),
        ("Say.", ["one."], "Say.\n---\none.\n---\nthe item "),
    ],
)
def test_an_item_stands_behind_instruction_and_demonstrations(instruction, shown, before):
    """The oldest first, separators between all of them; the answer's own surroundings stay."""
    prompt = prompt_of(instruction=instruction, separator="\n---\n")
    asked = Asked("the item ", ("wet", "dry"), ".").behind(shown, prompt)
    assert asked == Asked(before, ("wet", "dry"), ".")
