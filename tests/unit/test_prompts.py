"""Prompts: those of the package, in the words of lm-evaluation-harness; their items; the sentence for each fault."""

import ast
import json
from pathlib import Path

import datasets
import lm_eval.tasks
import pytest
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import apply_template

from hfrep.errors import ConfigError, DataError
from hfrep.tasks.items import ItemSettings, open_items
from hfrep.tasks.prompt import evaluated, known_prompts, open_prompt, read_prompt, rendered

PAIR = {"sentence1": "It rained all night.", "sentence2": "The street is wet."}
NLI = {"premise": "It rained all night.", "hypothesis": " The street is wet"}
# A row for each prompt, without its label.
ROWS = {
    "ag_news": {"text": "Rain ends the match"},
    "arc_easy": {"question": "What melts first?", "choices": ["ice", "iron"]},
    "boolq": {"passage": "Ice melts at zero degrees.", "question": "does ice melt"},
    "cb": NLI,
    "cola": {"sentence": "It rained all night."},
    "copa": {"premise": "The ice melted. ", "choice1": "The sun shone.", "choice2": "It snowed.", "question": "cause"},
    "lambada": {"text": "It rained all\nnight"},
    "mnli": NLI,
    "mrpc": PAIR,
    "piqa": {"goal": "Melt ice.", "sol1": "Warm it.", "sol2": "Cool it."},
    "qnli": {"question": "When did it rain?", "sentence": "It rained all night."},
    "qqp": {"question1": "When did it rain?", "question2": ""},
    "rte": PAIR,
    "sentence_order": PAIR,
    "sst2": {"sentence": "a joy . "},
    "sst5": {"text": "a joy ."},
    "verb": {"sentence": "the ice."},
    "wic": {"word": "run", "sentence1": "They run.", "sentence2": "A run.", "start1": 5, "end1": 8},
    "wnli": PAIR,
    "word_order": {"sentence": "It all rained night."},
    "wsc": {
        "text": "Ann did n't see Ben 's car , so she ( or \" he \" ) left .",
        "span1_text": "Ann",
        "span2_text": "she",
        "span2_index": 9,
    },
}
# The tasks of lm-evaluation-harness that a first template has its wording from.
HARNESS = {
    **{name: f"glue/{name}/default" for name in ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "wnli")},
    **{name: f"super_glue/{name}/default" for name in ("boolq", "cb", "copa", "wic", "wsc")},
    "arc_easy": "arc/arc_easy",
    "lambada": "lambada/lambada_openai",
    "piqa": "piqa/piqa",
}
MARK = "<here>"
TEMPLATES = [{"text": "{{text}} {{answer}}", "choices": {"bad": "awful", "good": "fine"}}]
OWN = {"labels": ["bad", "good"], "templates": TEMPLATES}


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def options(prompt, template, row):
    """What can stand for the answer, in the order of the right one's number."""
    if template.choices is None:
        return [rendered(prompt.answer, row, "here")]
    if isinstance(template.choices, dict):
        return [template.choices[label] for label in prompt.labels]
    if isinstance(template.choices, str):
        return evaluated(template.choices, row, "here")
    return [rendered(choice, row, "here") for choice in template.choices]


def own(folder, *, text=None, **fields):
    """A prompt in a file of its own: `OWN` with other `fields`, or the `text` as it is."""
    file = folder / "mine.yaml"
    file.write_text(text or json.dumps(OWN | fields))  # JSON is YAML
    return read_prompt(file)


def opened(prompt, folder, rows, shown=None, **settings):
    """The items of a prompt, from files."""
    files = {"validation_file": write_rows(folder / "validation.jsonl", rows)}
    if shown is not None:
        files["train_file"] = write_rows(folder / "train.jsonl", shown)
    return open_items(prompt, ItemSettings(prompt=["mine.yaml"], **files, **settings))


def labelled(*labels):
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]


@pytest.mark.parametrize("name", known_prompts())
def test_prompts_of_the_package(name, tmp_path):
    """Each opens, its templates have one place for the answer, a decoder's at the end, and words for each label."""
    prompt, row = open_prompt(name), ROWS[name]
    assert prompt.name == name
    labels = [None] if prompt.scored == "greedy" else prompt.labels or (0, 1)
    data = opened(prompt, tmp_path, [row | {"label": label} for label in labels])
    assert data.items.targets.tolist() == list(range(len(labels)))
    assert prompt.scored == "greedy" or len(prompt.templates) > 1
    assert prompt.labels is None or prompt.masked_templates
    for template in (*prompt.templates, *prompt.masked_templates):
        text = rendered(template.text, row | {"answer": MARK}, "here")
        assert text.count(MARK) == 1
        assert text.endswith(f" {MARK}") or template in prompt.masked_templates
        found = options(prompt, template, row)
        assert len(set(found)) == len(labels)
        assert all(option == option.strip() for option in found)


def test_row_for_each_prompt():
    assert list(ROWS) == known_prompts()


def test_verbalizers_of_encoders_are_single_words():
    for prompt in map(open_prompt, known_prompts()):
        for template in prompt.masked_templates:
            assert all(word.isalpha() for word in template.choices.values())


@pytest.mark.parametrize("name", HARNESS)
def test_wording_of_the_harness(name):
    """The first template with each choice is that task's text, blank and choice, character for character."""
    task = load_yaml(Path(lm_eval.tasks.__file__).parent / f"{HARNESS[name]}.yaml")
    prompt = open_prompt(name)
    template = prompt.templates[0]
    others = {"copa": {"question": "effect"}, "mnli": {"hypothesis": "It did. "}}
    for row in (ROWS[name], ROWS[name] | others.get(name, {})):
        if name == "arc_easy":
            row = row | {"choices": {"text": ["ice", "iron"], "label": ["A", "B"]}, "answerKey": "A"}
        found = [rendered(template.text, row | {"answer": option}, "") for option in options(prompt, template, row)]
        assert found == list(harness_texts(task, row))


def harness_texts(task, row):
    """Text and continuation of each choice as `lm_eval.api.task.ConfigurableTask` puts them together."""

    def filled(field):
        return field(row) if callable(field) else apply_template(field, row)

    text = filled(task["doc_to_text"])
    if task["output_type"] == "loglikelihood":
        yield text + filled(task["doc_to_target"])
        return
    choices = task["doc_to_choice"]
    choices = choices if isinstance(choices, list) else filled(choices)
    for choice in ast.literal_eval(choices) if isinstance(choices, str) else choices:
        yield f"{text} {choice}"


def test_a_known_task_tells_its_facts(tmp_path):
    """Labels, title, metrics and the split are the task's where the file does not tell others."""
    templates = [{"text": "{{sentence}} {{answer}}", "choices": {"unacceptable": "no", "acceptable": "yes"}}]
    prompt = own(tmp_path, text=json.dumps({"task": "cola", "templates": templates}))
    assert (prompt.name, prompt.title, prompt.labels) == ("mine", "CoLA", ("unacceptable", "acceptable"))
    assert (prompt.metrics, prompt.reported) == (("matthews",), "validation")
    prompt = own(tmp_path, text=json.dumps({"task": "cola", "templates": templates, "metrics": ["accuracy"]}))
    assert prompt.metrics == ("accuracy",)
    assert open_prompt("mnli").reported == "validation_matched"


def test_hash_is_of_what_a_model_reads(tmp_path):
    """Another word in a template or between items is another prompt, another title is not."""
    prompts = [own(tmp_path), own(tmp_path, title="x"), own(tmp_path, separator="\n")]
    prompts.append(own(tmp_path, templates=[TEMPLATES[0] | {"text": "{{text}}: {{answer}}"}]))
    hashes = [prompt.hash(prompt.templates) for prompt in prompts]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def template(**fields):
    return [TEMPLATES[0] | fields]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lables": ["bad"]}, r"fields among title, .*, found lables; did you mean labels\?"),
        (
            {"templates": template(choice=[])},
            r"templates 1: expected fields among text, choices, unconditioned, found choice; did you",
        ),
        ({"templates": []}, "mine.yaml: expected a template or more, found none; correct the file"),
        ({"templates": "{{text}}"}, "expected a list of templates, found str"),
        ({"templates": ["{{text}}"]}, "templates 1: expected text, and choices where there are some, found {{text}}"),
        ({"templates": template(text="{{text}}")}, "expected {{answer}} where the answer goes, found '{{text}}'"),
        (
            {"templates": template(text="{{text} {{answer}}")},
            "mine.yaml: expected Jinja templates, found unexpected '}'",
        ),
        ({"masked_templates": template(choices="a +")}, "mine.yaml: expected Jinja templates, found "),
        ({"templates": template(choices={"bad": "x"})}, "words for each of the labels bad, good, found none for good;"),
        (
            {"templates": template(choices={"bad": "x", "good": "y", "god": "z"})},
            "words for each of the labels bad, good, found some for god;",
        ),
        ({"templates": template(choices={"bad": "x", "good": "x"})}, "words for different labels, found x, x"),
        ({"templates": template(choices=[])}, "templates 1: expected a choice or more, found none"),
        ({"templates": template(choices=None)}, "choices where they are what is scored, else none, found None"),
        ({"templates": template(choices=3)}, "choices by label, a list of them, or an expression, found 3"),
        ({"labels": [False, True]}, "mine.yaml: expected text in labels, found False; put it between quotes"),
        ({"labels": "bad", "metrics": "f1"}, "expected f1 for two labels only, found 1 labels"),
        ({"task": "sst3"}, "expected a task among cola, .*, or labels of its own, found sst3"),
        ({"task": ["sst2"]}, r"expected text for task, found \['sst2'\]"),
        ({"metrics": ["acc"]}, "expected metrics among accuracy, f1, matthews, found acc"),
        ({"metrics": 1}, "expected a list of metrics, found int"),
        ({"shown": []}, "expected one or more shown, found none"),
        ({"title": 5}, "expected text for title, found 5; put it between quotes"),
        ({"max_new_tokens": 0}, "expected a whole number of max_new_tokens, 1 or more, found 0"),
        ({"scored": "likelihood"}, "expected scored: choices, greedy or generated, found likelihood"),
        ({"scored": "greedy"}, "expected answer where what is scored is greedy or generated, .* found scored greedy"),
        ({"answer": "{{text}}"}, "and choices otherwise, found scored choices, answer '{{text}}'"),
        ({"scored": "greedy", "answer": "x"}, "choices where they are what is scored, else none, found {'bad'"),
    ],
)
def test_a_faulty_prompt_is_told(fields, words, tmp_path):
    with pytest.raises(DataError, match=words) as error:
        own(tmp_path, **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("templates: [", "mine.yaml: expected a YAML file with a prompt, found while parsing"),
        ("- templates", "mine.yaml: expected a YAML file with a prompt, found list"),
        (
            "labels: [a, b]\ntemplates:\n- {text: '{{t}} {{answer}}', choices: {a: no, b: yes}}",
            "templates 1: expected text in choices, found False; put it between quotes",
        ),
        (
            "labels: ['no', 'yes']\ntemplates:\n- {text: '{{t}} {{answer}}', choices: {no: a, yes: b}}",
            "templates 1: expected text in choices, found False; put it between quotes",
        ),
    ],
)
def test_faulty_yaml_is_told(text, words, tmp_path):
    """What is none, and what YAML reads otherwise than one thinks."""
    with pytest.raises(DataError, match=words) as error:
        own(tmp_path, text=text)
    assert "\n" not in str(error.value)


def test_a_missing_prompt_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"--task: expected one of ag_news, .*, found sst_2; did you mean sst2\?"):
        open_prompt("sst_2")
    with pytest.raises(DataError, match=r"none.yaml: expected a YAML file with a prompt, found No such file"):
        read_prompt(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe9")
    with pytest.raises(DataError, match="found bytes that are not UTF-8"):
        read_prompt(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{other}}", "expected rows that fill the template '{{other}}', found 'other' is undefined"),
        ("{{gap}}", "expected rows that fill the template '{{gap}}', found null instead of text"),
        ("{{text + 1}}", "expected rows that fill the template '{{text \\+ 1}}', found can only concatenate str"),
        ("{{1 // zero}}", "expected rows that fill the template .*, found integer .* by zero"),
        ("{{text.__class__.mro()}}", "expected rows that fill the template .*, found access to attribute '__class__'"),
    ],
)
def test_a_row_that_does_not_fill_a_template_is_told(text, words):
    """Nothing reads as "None", and a template reaches nothing but the row."""
    with pytest.raises(DataError, match=f"here: {words}"):
        rendered(text, {"text": "t", "gap": None, "zero": 0}, "here")


def test_an_expression_without_a_value_is_told():
    with pytest.raises(DataError, match="here: expected rows that 'a if b' can be had from, found a field that is not"):
        evaluated("a if b", {"a": 1, "b": 0}, "here")
    with pytest.raises(DataError, match=r"here: expected rows that 'a.index\(b\)' can be had from, found 3 is not in"):
        evaluated("a.index(b)", {"a": [1], "b": 3}, "here")


def test_prompts_are_opened_once_each(tmp_path):
    own(tmp_path)
    file = str(tmp_path / "mine.yaml")
    settings = ItemSettings(task=["sst2", "rte", "sst2"], prompt=[file])
    assert [prompt.name for prompt in settings.prompts()] == ["sst2", "rte", "mine"]
    assert [prompt.name for prompt in ItemSettings(prompt=[file]).prompts()] == ["mine"]
    assert [prompt.name for prompt in ItemSettings().prompts()] == ["word_order", "sentence_order", "verb"]
    with pytest.raises(ConfigError, match="--prompt: expected one prompt of a name, found mine; rename one"):
        ItemSettings(prompt=[file, file]).prompts()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_items": 0}, "--max_items: expected 1 or more, found 0"),
        ({"task": []}, "--task: expected one or more, found none"),
        ({"train_file": "x"}, "--validation_file: expected the items to ask, found --train_file alone"),
        ({"validation_file": "x", "task": ["rte"]}, "--validation_file: expected one file of --prompt, and neither"),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    with pytest.raises(ConfigError, match=words):
        ItemSettings(**settings)


def test_a_prompt_needs_items(tmp_path):
    """A file, a folder that has it, or a dataset."""
    prompt = own(tmp_path)
    with pytest.raises(ConfigError, match="prompt mine: expected items to ask, found neither --validation_file nor"):
        open_items(prompt, ItemSettings(prompt=["mine.yaml"]))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    settings = ItemSettings(prompt=["mine.yaml"], data=[str(tmp_path / "one"), str(tmp_path / "two")])
    with pytest.raises(
        DataError, match=r"--data: expected a folder 'mine', found none in .*one, .*two; correct --data"
    ):
        open_items(prompt, settings)
    write_rows(tmp_path / "two" / "mine" / "validation.jsonl", labelled("good", "bad"))
    assert open_items(prompt, settings).items.targets.tolist() == [1, 0]


def test_a_field_that_no_column_has_is_told_before_anything_is_scored(tmp_path):
    """Of a template, of one for encoders, of a choice, or of the label; unless the prompt asks whether it is there."""
    rows = labelled("bad", "good")
    words = r"prompt mine: expected fields that .*validation.jsonl has \(text, label\), found {{other}}; correct the te"
    for fields in (
        {"templates": template(text="{{other}} {{answer}}")},
        {"masked_templates": template(text="{{other}} {{answer}}")},
        {"templates": template(choices=["x", "{{other}}"])},
        {"templates": template(choices="[text, other]")},
        {"label": "other"},
        {"templates": template(text="{{other}} {{'x' if another is defined}} {{answer}}")},
    ):
        with pytest.raises(DataError, match=words):
            opened(own(tmp_path, **fields), tmp_path, rows)
    asked = template(text="{{other if other is defined else text}} {{answer}}")
    for key in ("templates", "masked_templates"):
        assert len(opened(own(tmp_path, **{key: asked}), tmp_path, rows).items) == 2


def test_the_number_of_the_right_choice(tmp_path):
    """An expression may give it, as a number or as text; what is none is told with its row."""
    fields = {"label": "right - 1", "templates": template(choices=["x", "y"])}
    prompt = own(tmp_path, text=json.dumps({key: value for key, value in (OWN | fields).items() if key != "labels"}))
    data = opened(prompt, tmp_path, [{"text": "a", "right": 2}, {"text": "b", "right": 1}])
    assert (data.items.targets.tolist(), data.items.ids.tolist()) == ([1, 0], [0, 1])
    for right, found in ((0, "-1 in row 2"), (1.5, "0.5 in row 2"), (float("inf"), "inf in row 2")):
        with pytest.raises(DataError, match=f"expected the number of the right choice, counted from 0, found {found}"):
            opened(prompt, tmp_path, [{"text": "a", "right": 1}, {"text": "b", "right": right}])
    with pytest.raises(
        DataError, match=r"validation.jsonl: expected labels in column 'label', found none; give a split"
    ):
        opened(own(tmp_path), tmp_path, labelled(None, None))


def test_where_demonstrations_come_from(tmp_path):
    """The first of the splits that there is, a subset of it too; else what is asked, of which this is said."""
    prompt = own(tmp_path, shown=["train", "train32"])
    folder = tmp_path / "data"
    settings = ItemSettings(prompt=["mine.yaml"], data=[str(folder)])
    write_rows(folder / "mine" / "validation_subset.jsonl", labelled("bad", "good", "bad"))
    data = open_items(prompt, settings)
    assert data.asked_from_pool
    assert data.pool.ids.tolist() == [0, 1, 2]
    assert data.notes == (
        "validation: 3 rows of validation_subset, not the whole split",
        "demonstrations: other items of validation, since there is no train or train32",
    )
    write_rows(folder / "mine" / "train32.jsonl", labelled("good"))
    data = open_items(prompt, settings)
    assert (data.asked_from_pool, len(data.pool), len(data.notes)) == (False, 1, 1)
    write_rows(folder / "mine" / "train_subset.jsonl", labelled("good", "bad"))
    assert len(open_items(prompt, settings).pool) == 2


def test_a_split_that_is_shown_and_asked(tmp_path):
    """Its items must not be shown to themselves, whether the prompt names it or nothing else is there."""
    data = opened(own(tmp_path, shown="validation"), tmp_path, labelled("bad", "good"))
    assert (data.asked_from_pool, len(data.pool), data.notes) == (True, 2, ())


def test_a_cap_takes_the_same_items_every_time(tmp_path):
    """From all over the split, those of a smaller one among those of a larger; demonstrations come from all rows."""
    rows = labelled(*["bad", "good"] * 50)
    small, large = (opened(own(tmp_path), tmp_path, rows, max_items=number) for number in (5, 20))
    assert set(small.items.ids) < set(large.items.ids)
    assert [row["text"] for row in small.items.rows] == [f"text {number}" for number in small.items.ids]
    assert small.items.targets.tolist() == [number % 2 for number in small.items.ids]
    assert len(small.pool) == 100
    assert small.notes[1] == "validation: 5 of 100 items, by a hash of their position"
    assert len(opened(own(tmp_path), tmp_path, rows, max_items=100).items) == 100


def test_labels_are_matched_by_name(tmp_path):
    """A file whose names stand in another order is renumbered; numbers without names are the prompt's."""
    prompt, folder = own(tmp_path), tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    settings = ItemSettings(prompt=["mine.yaml"], data=[str(folder.parent)])
    found = []
    for names in (["bad", "good"], ["good", "bad"], ["0", "1"]):
        rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
        rows.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(folder / "validation.parquet")
        found.append(open_items(prompt, settings))
    assert [data.items.targets.tolist() for data in found] == [[0, 1], [1, 0], [0, 1]]
    assert found[0].fingerprint == found[2].fingerprint != found[1].fingerprint


def test_fingerprint_is_of_all_rows(tmp_path):
    """A word or a label among what is shown or asked is another one, a cap too."""
    rows = labelled("bad", "good", "bad")
    other = [rows[0] | {"text": "other"}, *rows[1:]]
    prints = [
        opened(own(tmp_path), tmp_path, *both).fingerprint for both in ((rows, rows), (rows, other), (other, rows))
    ]
    prints.append(opened(own(tmp_path), tmp_path, rows, rows, max_items=2).fingerprint)
    assert len(set(prints)) == 4
    assert opened(own(tmp_path), tmp_path, rows, rows).fingerprint == prints[0]


def test_the_hubs_columns_of_arc(monkeypatch):
    """Choices in a column of two lists, and the right one by its letter, which may be a digit."""
    rows = [
        {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
        {"question": "r", "choices": {"text": ["c", "d", "e"], "label": ["1", "2", "3"]}, "answerKey": "1"},
    ]
    asked = []

    def load_dataset(*name):
        asked.append(name)
        return datasets.DatasetDict({"validation": datasets.Dataset.from_list(rows)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    prompt = open_prompt("arc_easy")
    data = open_items(prompt, ItemSettings(task=["arc_easy"]))
    assert asked == [("allenai/ai2_arc", "ARC-Easy")]
    assert data.items.targets.tolist() == [1, 0]
    assert [options(prompt, prompt.templates[0], row) for row in data.items.rows] == [["a", "b"], ["c", "d", "e"]]


def test_glue_is_the_hubs_where_no_folder_is_given(monkeypatch):
    asked = []

    def load_dataset(*name):
        asked.append(name)
        return datasets.DatasetDict({"validation": datasets.Dataset.from_list([PAIR | {"label": 1}])})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert open_items(open_prompt("rte"), ItemSettings(task=["rte"])).items.targets.tolist() == [1]
    assert asked == [("nyu-mll/glue", "rte")]
