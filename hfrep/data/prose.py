r"""English prose out of a docstring: paragraphs of sentences, one line each.

Docstrings mix prose with what a language model should not spend itself on: doctests and their output, code blocks,
tables, headings, directives, lists of types. Three conventions are in use (reStructuredText with numpydoc sections,
Google style, Sphinx fields), often in one file, so nothing is parsed by a grammar: lines are read once, indentation
and the first signs of a line say what it is, and what remains as a paragraph must then look like English.

The last test follows Gopher's rules for web text (Rae et al., 2021, arXiv:2112.11446, appendix A.1.1): a minimum of
words, a share of them that are plain words, and stop words among them.
"""

import inspect
import re
from collections.abc import Iterator

MIN_WORDS = 6
MIN_PLAIN_SHARE = 0.8
MIN_LINE = 40  # characters: a shorter line above deeper ones is a header, not a sentence that was wrapped
STOP_WORDS = frozenset(["a", "an", "and", "be", "by", "for", "have", "if", "in", "is", "of", "or", "that", "the", "to"])
STOP_WORDS |= {"are", "as", "at", "can", "from", "has", "it", "not", "on", "this", "was", "when", "will", "with"}

_FENCE = re.compile(r"```|~~~")
_UNDERLINE = re.compile(r"([=\-~^*#+\"'_.:`])\1{2,}[=\- ]*$")
_DIRECTIVE = re.compile(r"\.\. ?[\w:-]+::|\.\.(?: |$)")  # or a comment, a citation, a link target
_PROSE_DIRECTIVE = re.compile(
    r"\.\. ?(?:admonition|attention|caution|danger|deprecated|hint|important|note|seealso|tip|topic|version\w+"
    r"|warning)::"
)
_TABLE = re.compile(r"^\||\|$|[-=+]{3,}[ +][-=+]{3,}|[^.!?:\s] {2,}\S")
_BULLET = re.compile(r"(?:[-*+•–]|\(?[A-Za-z]\)|\(?\d+[.)])\s+(?:[`*\w.]+(?: \([^)]*\))?\s*(?::|--?)\s+)?(?=\S)")
_FIELD = re.compile(r"[:@]\w+(?:\s[^:]*)?:\s+(?=\S)")  # :param x: it
_ITEM = re.compile(r"[`*]*[\w.]+[`*]*\s*(?:\(.*?\)+|\[.*?\]+)?\s*:\s+(?=\S)")  # x (int): it
_TYPED = re.compile(r"[`*]*[\w.*]+[`*]*(?:, [`*]*[\w.*]+[`*]*)* : ")  # x, y : int
_SECTION = re.compile(r"[A-Z]\w+(?: \w+)?:{1,2}$")  # Args:


def paragraphs(docstring: str) -> Iterator[str]:
    """The paragraphs of `docstring` that are English prose, each as one line, in order."""
    for block in _Blocks(inspect.cleandoc(docstring).splitlines()):
        if block.count(" ") >= MIN_WORDS - 1:
            text = _without_markup(block)
            if is_prose(text):
                yield text


def is_prose(text: str) -> bool:
    """Whether one line of text reads as an English sentence or several."""
    words = text.split()
    if len(words) < MIN_WORDS or (not text[0].isupper() and text[0] not in "\"'(") or text[-1] not in ".:!?\")'":
        return False
    if "\\" in text or "$" in text or "{" in text:
        return False
    plain = sum(1 for word in words if _PLAIN.match(word))
    if plain < MIN_PLAIN_SHARE * len(words):
        return False
    return sum(1 for word in words if word.lower() in STOP_WORDS) >= (1 if len(words) < 2 * MIN_WORDS else 2)


_PLAIN = re.compile(r"[\"'(\[]*[A-Za-z]+(?:[-'/’][A-Za-z]+)*[)\]\"'.,;:!?]*$")


class _Blocks:
    """Iterates over the blocks of running text, each joined to one line; code, tables and headings are left out."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._block: list[str] = []
        self._indent = 0  # of the block
        self._item = False  # the block is a list item: deeper lines continue it
        self._code_below: int | None = None  # lines indented more than this are code

    def __iter__(self) -> Iterator[str]:
        fenced = doctest = False
        for number, line in enumerate(self._lines):
            text = line.strip()
            if fenced or _FENCE.match(text):
                fenced ^= bool(_FENCE.match(text))
                yield from self._end(whole=True)
            elif not text:
                doctest = False
                yield from self._end(whole=True)
            elif doctest or text.startswith((">>>", "In [")):
                doctest = True
                yield from self._end(whole=False)
            else:
                following = self._lines[number + 1] if number + 1 < len(self._lines) else ""
                indent = _indentation(line)
                yield from self._take(text, indent, deeper=_indentation(following) > indent)
        yield from self._end(whole=True)

    def _take(self, text: str, indent: int, *, deeper: bool) -> Iterator[str]:
        if deeper and _SECTION.match(text):
            yield from self._end(whole=True)
            return
        item = _BULLET.match(text) or _FIELD.match(text) or _ITEM.match(text)
        if self._block and not self._goes_on(text, indent, item):
            yield from self._end(whole=self._item)
        if self._code_below is not None:
            if indent > self._code_below:
                return
            self._code_below = None
        if _UNDERLINE.match(text):
            self._block = []  # the heading above it
        elif _DIRECTIVE.match(text):
            yield from self._end(whole=False)
            if not _PROSE_DIRECTIVE.match(text):
                self._code_below = indent
        elif _TABLE.search(text):
            yield from self._end(whole=False)
        elif self._block:
            self._block.append(text)
        elif not (deeper and _is_header(text, item)):
            self._block = [_sentence_case(text[item.end() :]) if item else text]
            self._indent, self._item = indent, bool(item) or (deeper and text[-1] not in ".:")

    def _goes_on(self, text: str, indent: int, item: "re.Match[str] | None") -> bool:
        if indent == self._indent:
            return not item and (not self._item or text[0].islower())
        return indent > self._indent and self._item and not _BULLET.match(text)

    def _end(self, *, whole: bool) -> Iterator[str]:
        """Give the block, if there is one; a `whole` one that lacks its full stop gets it, another is a fragment."""
        if self._block:
            text = " ".join(self._block)
            if text.endswith("::"):
                self._code_below = self._indent
                text = text[:-1]
            self._block = []
            yield f"{text}." if whole and text[-1].isalnum() else text


def _is_header(text: str, item: "re.Match[str] | None") -> bool:
    """Whether `text`, above deeper lines, names what they describe: ``x : int``, ``Returns``, ``x (int):``."""
    if item:
        return bool(_TYPED.match(text)) or len(text) - item.end() < MIN_LINE
    return bool(_TYPED.match(text)) or text.endswith("):") or (len(text) < MIN_LINE and text[-1] not in ".,;")


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _sentence_case(text: str) -> str:
    """With a capital first letter, where the first word is a word."""
    first = text.split(" ", 1)[0]
    return text[0].upper() + text[1:] if first.isalpha() and first.islower() else text


_HAS_MARKUP = re.compile(r"[`*\[<\\~!]|  |(?<!\S)\.\w")
_MARKUP = [
    (re.compile(r"(?<=`)\\ ?(?=\w)|\\(?=[*_`|])"), ""),  # `Tensor`\s, \*args
    (re.compile(r":[\w:+-]+:`([^`<]*?)\s*(?:<[^>`]*>)?`"), r"\1"),  # :role:`text <target>`
    (re.compile(r"\[([^\]]*)\]\(([^)]*)\)"), r"\1"),  # [text](link)
    (re.compile(r"``+"), ""),
    (re.compile(r"`([^`<]*?)\s*(?:<[^>`]*>)?`_{0,2}"), r"\1"),  # `text <link>`_
    (re.compile(r"\s*\[[\w-]+\]_+"), ""),  # [1]_
    (re.compile(r"\[[~!]?([\w.]+)\]"), r"\1"),  # [~Class.method]
    (re.compile(r"</?[A-Za-z][^<>]*>"), ""),
    (re.compile(r"(?<![\w*])\*{1,2}([^\s*](?:[^*]*[^\s*])?)\*{1,2}(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w.~!)])(?:[~!]\.?|\.)(?=[A-Za-z])"), ""),  # ~.Axes
    (re.compile(r"\s+"), " "),
]


def _without_markup(text: str) -> str:
    if _HAS_MARKUP.search(text):
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
    return text.strip()
