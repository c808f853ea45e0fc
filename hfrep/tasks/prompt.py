"""A prompt is data: how an item reads, how items are joined, what the answers are, and what is scored.

Prompts are YAML files, one for each task, those of this package in ``hfrep/tasks/prompts``::

    task: sst2                       # its columns, labels and metrics are those of a known task …
    templates:
      - text: "{{sentence}}\\nQuestion: Is this sentence positive or negative?\\nAnswer: {{answer}}"
        choices: {negative: negative, positive: positive}

    title: PIQA                      # … or are told
    templates:
      - text: "Question: {{goal}}\\nAnswer: {{answer}}"
        choices: ["{{sol1}}", "{{sol2}}"]

Texts are Jinja templates over the columns of a row; ``{{answer}}`` stands where the answer goes. Choices are one of

- a mapping, name of a label → the words that say it (a verbalizer; Schick and Schütze 2021, arXiv:2001.07676);
- a list of templates, one for each option of an item;
- a Jinja expression that gives the list of options.

A decoder is asked with ``templates``, where the answer comes last; an encoder with ``masked_templates`` where there are
some. What is ``scored`` is ``choices``; or ``greedy``: whether the answer is what greedy decoding would write; or
``generated``: whether the text that is written, up to one of the ``stop`` strings, is the answer.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import jinja2
import yaml
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hfrep.errors import ConfigError, DataError
from hfrep.tasks import TASKS
from hfrep.tasks.own import CLASS_METRICS

ANSWER = "answer"
_LISTS = ("dataset", "labels", "metrics", "shown", "content_free", "stop")  # fields that hold several texts
Scored = Literal["choices", "greedy", "generated"]
Choices = Mapping[str, str] | tuple[str, ...] | str
Row = Mapping[str, Any]


def _present(value: Any) -> Any:
    if value is None:  # which would read "None"
        raise ValueError("null instead of text")
    return value


# A template sees the row's columns and no file, and leaves the row as it is.
_JINJA = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, finalize=_present, keep_trailing_newline=True, autoescape=False
)
_UNFILLED = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError)


@dataclass(frozen=True)
class Template:
    """One way of asking.

    Attributes:
        text: Jinja, with ``{{answer}}`` in it.
        choices: as the module says; None where the answer is not one of some.
        unconditioned: Jinja; what a choice stands behind where it is scored without its item (``pmi``); None for the
            prompt's.
    """

    text: str
    choices: Choices | None = None
    unconditioned: str | None = None

    @property
    def hash(self) -> str:
        """Eight hex digits of what is in it."""
        content = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked on a task, and how.

    Attributes:
        name: of the file, and of the folder its rows are read from.
        title: as tables spell it.
        labels: names of the classes in the order of their numbers; None where items have options of their own, or none.
        label: the right answer: a column, or a Jinja expression that gives the number of the right option.
        answer: Jinja; the right answer where there are no choices.
        metrics: names among `hfrep.tasks.own.CLASS_METRICS`; the score is their mean.
        shown: splits that demonstrations are taken from, the first one that there is; where there is none, the other
            items of the scored split.
        reported: the split that is scored.
        dataset: on the Hub, with the name of its configuration where it has several.
        unconditioned: that of templates that have none of their own.
        content_free: what stands in for all texts of an item that says nothing (contextual calibration).
        separator: between instruction, demonstrations and item.
    """

    name: str
    title: str
    templates: tuple[Template, ...]
    masked_templates: tuple[Template, ...] = ()
    task: str | None = None
    dataset: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    label: str = "label"
    answer: str | None = None
    scored: Scored = "choices"
    metrics: tuple[str, ...] = ("accuracy",)
    shown: tuple[str, ...] = ("train",)
    reported: str = "validation"
    instruction: str = ""
    separator: str = "\n\n"
    unconditioned: str = ""
    content_free: tuple[str, ...] = ("N/A", "", "[MASK]")  # those of Zhao et al. 2021
    stop: tuple[str, ...] = ("\n",)
    max_new_tokens: int = 32

    @property
    def read_as_text(self) -> frozenset[str]:
        """The columns that items read from: all but that of the label, which a model is not told."""
        return self.names - (undeclared(f"{{{{ {self.label} }}}}") if self.scored == "choices" else frozenset())

    def of(self, *, masked: bool) -> tuple[Template, ...]:
        """The templates for an encoder, or for a decoder."""
        return self.masked_templates if masked and self.masked_templates else self.templates

    def hash(self, templates: Sequence[Template]) -> str:
        """Eight hex digits of all that decides what a model is shown and asked with `templates`."""
        facts: list[object] = [
            self.instruction,
            self.separator,
            self.unconditioned,
            self.content_free,
            self.scored,
            self.answer,
            self.labels,
            self.label,
        ]
        facts += [self.stop, self.max_new_tokens] if self.scored == "generated" else []
        content = json.dumps([facts, [template.hash for template in templates]])
        return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """All templates, expressions as such too."""
        templates = (*self.templates, *self.masked_templates)
        texts = [template.text for template in templates]
        texts += [self.unconditioned, *(template.unconditioned or "" for template in templates)]
        expressions = [self.label] if self.scored == "choices" else []
        for choices in (template.choices for template in templates):
            if isinstance(choices, str):
                expressions.append(choices)
            else:
                texts += choices.values() if isinstance(choices, Mapping) else choices or ()
        return (*texts, *(f"{{{{ {expression} }}}}" for expression in expressions), self.answer or "")

    @cached_property
    def names(self) -> frozenset[str]:
        """The columns that are read."""
        return frozenset().union(*map(undeclared, self.sources)) - {ANSWER}

    @property
    def may_lack(self) -> frozenset[str]:
        """Those that are asked after with ``is defined``, and so may be away."""
        return frozenset(
            test.node.name
            for source in self.sources
            for test in _JINJA.parse(source).find_all(nodes.Test)
            if test.name == "defined" and isinstance(test.node, nodes.Name)
        )


def known_prompts() -> list[str]:
    """Names of the prompts of this package."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def open_prompt(name: str) -> Prompt:
    """The prompt of this package that is called `name`.

    Raises:
        ConfigError: there is none.
    """
    known = known_prompts()
    if name not in known:
        nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ConfigError(
            where="--task",
            expected=f"one of {', '.join(known)}",
            found=name,
            do=f"did you mean {nearest}? A prompt of your own goes to --prompt",
        )
    return _prompt(f"{name}.yaml", name, (_folder() / f"{name}.yaml").read_text(encoding="utf-8"))


def read_prompt(file: Path) -> Prompt:
    """The prompt in a YAML file of the user's own.

    Raises:
        DataError: it cannot be read, or is no prompt.
    """
    try:
        return _prompt(str(file), file.stem, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise _wrong(str(file), "a YAML file with a prompt", str(found)) from None


def rendered(text: str, row: Row, where: str) -> str:
    """A template filled with a row.

    Raises:
        DataError: the row lacks a field of it, or the template cannot be filled.
    """
    try:
        return _compiled(text).render(row)
    except _UNFILLED as error:
        raise _wrong(where, f"rows that fill the template {text!r}", _one_line(error)) from None


def evaluated(expression: str, row: Row, where: str) -> Any:
    """The value of a Jinja expression over a row.

    Raises:
        DataError: as above.
    """
    try:
        value = _expression(expression)(row)
    except _UNFILLED as error:
        raise _wrong(where, f"rows that {expression!r} can be had from", _one_line(error)) from None
    if isinstance(value, jinja2.Undefined):
        raise _wrong(where, f"rows that {expression!r} can be had from", "a field that is not there")
    return value


def undeclared(text: str) -> frozenset[str]:
    """The fields of a template."""
    return frozenset(meta.find_undeclared_variables(_JINJA.parse(text)))


@cache
def _compiled(text: str) -> jinja2.Template:
    return _JINJA.from_string(text)


@cache
def _expression(text: str) -> Any:
    return _JINJA.compile_expression(text, undefined_to_none=False)


def _folder() -> Any:
    return resources.files("hfrep.tasks") / "prompts"


def _prompt(where: str, name: str, text: str) -> Prompt:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _wrong(where, "a YAML file with a prompt", _one_line(error)) from None
    if not isinstance(content, dict):
        raise _wrong(where, "a YAML file with a prompt", type(content).__name__)
    _require_known(where, content, [field.name for field in dataclasses.fields(Prompt) if field.name != "name"])
    told: dict[str, Any] = {"templates": []} | content
    fields = {key: _field(where, key, value) for key, value in told.items()}
    task = TASKS.get(fields.get("task", ""))
    if "task" in content and task is None:
        raise _wrong(where, f"a task among {', '.join(TASKS)}, or labels of its own", str(content["task"]))
    if task is not None:
        known = {"title": task.title, "labels": task.labels, "label": task.label_column, "metrics": task.metrics}
        fields = known | {"reported": task.reported[0]} | fields
    prompt = Prompt(**{"title": name, **fields, "name": name})
    _check(where, prompt)
    return prompt


def _field(where: str, key: str, value: Any) -> Any:
    if key in ("templates", "masked_templates"):
        return tuple(_templates(where, key, value))
    if key in _LISTS:
        texts = tuple(_texts(where, key, [value] if isinstance(value, str) else value))
        if not texts and key != "stop":
            raise _wrong(where, f"one or more {key}", "none")
        return texts
    if key == "max_new_tokens":
        if type(value) is not int or value < 1:
            raise _wrong(where, "a whole number of max_new_tokens, 1 or more", repr(value))
    elif not isinstance(value, str):
        raise _wrong(where, f"text for {key}", repr(value), do="put it between quotes")
    return value


def _templates(where: str, key: str, entries: Any) -> Iterator[Template]:
    if not isinstance(entries, list):
        raise _wrong(where, f"a list of {key}", type(entries).__name__)
    for number, entry in enumerate(entries, 1):
        place = f"{where}, {key} {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise _wrong(place, "text, and choices where there are some", str(entry)[:60])
        _require_known(place, entry, [field.name for field in dataclasses.fields(Template)])
        choices = entry.get("choices")
        if isinstance(choices, dict):
            labels, words = list(choices), list(choices.values())
            choices = dict(zip(_texts(place, "choices", labels), _texts(place, "choices", words), strict=True))
        elif isinstance(choices, list):
            choices = tuple(_texts(place, "choices", choices))
        elif not isinstance(choices, str | None):
            raise _wrong(place, "choices by label, a list of them, or an expression", repr(choices))
        unconditioned = entry.get("unconditioned")
        if not isinstance(unconditioned, str | None):
            raise _wrong(place, "text as unconditioned", repr(unconditioned))
        yield Template(entry["text"], choices, unconditioned)


def _texts(where: str, key: str, values: Any) -> list[str]:
    if not isinstance(values, list):
        raise _wrong(where, f"a list of {key}", type(values).__name__)
    for value in values:
        if not isinstance(value, str):  # YAML reads yes, no and 1 without quotes as something else
            raise _wrong(where, f"text in {key}", f"{value!r}", do="put it between quotes")
    return values


def _check(where: str, prompt: Prompt) -> None:
    if not prompt.templates:
        raise _wrong(where, "a template or more", "none")
    if prompt.scored not in ("choices", "greedy", "generated"):
        raise _wrong(where, "scored: choices, greedy or generated", str(prompt.scored))
    unknown = set(prompt.metrics) - set(CLASS_METRICS)
    if unknown:
        raise _wrong(where, f"metrics among {', '.join(CLASS_METRICS)}", ", ".join(sorted(unknown)))
    if "f1" in prompt.metrics and len(prompt.labels or ()) != 2:
        raise _wrong(where, "f1 for two labels only", f"{len(prompt.labels or ())} labels")
    if (prompt.scored == "choices") == (prompt.answer is not None):
        expected = "answer where what is scored is greedy or generated, and choices otherwise"
        raise _wrong(where, expected, f"scored {prompt.scored}, answer {prompt.answer!r}")
    try:
        for source in prompt.sources:
            undeclared(source)
    except jinja2.TemplateError as error:
        raise _wrong(where, "Jinja templates", _one_line(error)) from None
    for key, templates in (("templates", prompt.templates), ("masked_templates", prompt.masked_templates)):
        for number, template in enumerate(templates, 1):
            _check_template(f"{where}, {key} {number}", prompt, template)


def _check_template(where: str, prompt: Prompt, template: Template) -> None:
    if ANSWER not in undeclared(template.text):
        raise _wrong(where, "{{answer}} where the answer goes", repr(template.text[-40:]))
    if (prompt.scored == "choices") == (template.choices is None):
        raise _wrong(where, "choices where they are what is scored, else none", str(template.choices))
    if isinstance(template.choices, Mapping):
        missing = [label for label in prompt.labels or () if label not in template.choices]
        unknown = [label for label in template.choices if label not in (prompt.labels or ())]
        if missing or unknown:
            lacks = f"none for {', '.join(missing)}" if missing else f"some for {', '.join(unknown)}"
            expected = f"words for each of the labels {', '.join(prompt.labels or ()) or '(none are told)'}"
            raise _wrong(where, expected, lacks)
        said = [template.choices[label] for label in prompt.labels or ()]
        if len(set(said)) < len(said):
            raise _wrong(where, "different words for different labels", ", ".join(said))
    elif template.choices is not None and not template.choices:
        raise _wrong(where, "a choice or more", "none")


def _require_known(where: str, content: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            nearest = get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise _wrong(where, f"fields among {', '.join(known)}", str(key), do=f"did you mean {nearest}?")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _wrong(where: str, expected: str, found: str, do: str = "correct the file") -> DataError:
    return DataError(where=where, expected=expected, found=found, do=do)
