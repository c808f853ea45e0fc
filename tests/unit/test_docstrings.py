"""The built-in corpus: what is prose in a docstring, what was said before, and that it is the same every time."""

import json
import os
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hfrep.data import docstrings
from hfrep.data.docstrings import documents
from hfrep.data.novelty import Novelty
from hfrep.data.prose import is_prose, paragraphs

GOOD = "The quick red fox jumps over the lazy dog and runs to the river."
WRAPPED = "A paragraph that is long enough to be wrapped over two lines is joined\nto one line of the corpus."
OTHER = "Every house in the old town has a garden that can be seen from the street."

MODULE = f'''
"""{GOOD}

Example
-------
>>> print("This output of a doctest is not prose for the model to read.")
This output of a doctest is not prose for the model to read.

```python
# In the fence there is a comment that reads as if it were prose for all.
```

An example of this is the following block of code, which is left out::

    The code below is a sentence that must not be found in the corpus.

.. code-block:: text

    And this one is in a directive that must not be found in the corpus.

========  ==============================================
Name      What this is for in the table of all the names.
========  ==============================================

| A row of | a table that is not to be in the corpus. |
"""
import os

NUMBER = 3


def function(x):
    """{WRAPPED.replace(chr(10), chr(10) + "    ")}

    Args:
        x (int): the number of the things that are to be counted by this function

    """
    "This string is not documentation but a statement in the middle of a function."


class Thing:
    """{OTHER}"""

    def method(self):
        """{GOOD.replace("red", "brown")}"""
        # A comment is not a docstring and it must not be in the corpus at all.
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(MODULE, encoding="utf-8")
    return path


def test_prose_of_a_module(module):
    """Prose stays, in order and joined to lines; code, doctests, tables, and what was said before are left out."""
    (document,) = documents(iter([module]))
    assert document.split("\n") == [
        GOOD,
        "An example of this is the following block of code, which is left out:",
        WRAPPED.replace("\n", " "),
        "The number of the things that are to be counted by this function.",
        OTHER,
    ]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (
            "Returns the :class:`~a.Thing` that *was* made by ``make`` for [1]_ it.",
            ["Returns the a.Thing that was made by make for it."],
        ),
        ("- the first item is a sentence of its own\n- the second one is another of them", ["The first", "The second"]),
        ("x : int, optional\n    The number of steps to take before it is over.", ["The number of steps to take"]),
        ("See:\n\n.. note::\n\n    What is in a note is as good as any other prose.", ["What is in a note is as good"]),
        ("See:\n\n.. math::\n\n    What is in a formula is not for the model to read.", []),
        ("Too short for us.", []),
        ("int, str, list, dict, tuple, set, frozenset, bytes, bytearray.", []),
        ("a_b = c_d(e_f, g_h) if it is not in the_list else the_other.", []),
    ],
    ids=["markup", "list", "numpydoc", "note", "math", "short", "no stop words", "code"],
)
def test_paragraphs(docstring, expected):
    """Markup goes, items and descriptions of parameters become sentences, the rest is dropped."""
    found = list(paragraphs(docstring))
    assert len(found) == len(expected)
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning)
        assert is_prose(text)


def test_near_duplicates_are_not_admitted():
    """The same words in another case or punctuation, or with one word changed, are not new; others are."""
    novelty = Novelty()
    sentence = f"{GOOD} {OTHER}"
    assert novelty.admits(sentence)
    assert not novelty.admits(sentence)
    assert not novelty.admits(sentence.upper().replace(".", " 42!"))
    assert not novelty.admits(sentence.replace("lazy", "sleeping"))
    assert not novelty.admits(OTHER)
    assert novelty.admits(WRAPPED)
    assert Novelty().admits(sentence)


def test_files_that_say_little_or_cannot_be_parsed(tmp_path, module):
    """A file with too few words is no document, and a broken or missing one no error."""
    short, broken = tmp_path / "short.py", tmp_path / "broken.py"
    short.write_text(f'"""{OTHER}"""')
    broken.write_text("def (:")
    assert list(documents(iter([short, broken, tmp_path / "missing.py"]))) == []
    assert len(list(documents(iter([broken, module, module])))) == 1


def test_number_of_processes_does_not_show(tmp_path, module):
    """Files shared out over processes give the documents that one process gives, repeated docstrings among them."""
    sources = [module, Path(json.__file__), module, Path(textwrap.__file__), tmp_path / "missing.py"]
    assert list(documents(sources, processes=2)) == list(documents(sources)) != []


def test_a_reading_process_that_ends_is_noticed(monkeypatch, module):
    """A process that dies does not look like a file without prose."""
    monkeypatch.setattr(docstrings.sys, "executable", "/bin/true")
    with pytest.raises(RuntimeError, match=r"module\.py has ended"):
        list(documents([module] * 2, processes=2))


def test_oddities_of_foreign_source_stay_quiet(tmp_path):
    """What the compiler warns of in other people's files does not reach the user, in any number of processes."""
    odd = tmp_path / "odd.py"
    odd.write_text(f'"""{GOOD} {OTHER} {GOOD}"""\nPATTERN = "\\d"\nif PATTERN is "x": pass\n')
    script = (
        "import sys; from pathlib import Path; from hfrep.data.docstrings import documents;"
        "print(len(list(documents([Path(sys.argv[1])] * 2, processes=int(sys.argv[2])))))"
    )
    for processes in ("1", "2"):
        command = [sys.executable, "-W", "default", "-c", script, str(odd), processes]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (run.stdout, run.stderr) == ("1\n", "")


def test_packages_come_with_hfrep():
    """Every package on the list is a dependency of hfrep without its extras, so that each installation has them all."""
    found, waiting = set(), [("hfrep", "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            for need in map(Requirement, metadata.requires(name) or []):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting += [(canonicalize_name(need.name), asked) for asked in ("", *need.extras)]
    assert {canonicalize_name(name) for name in docstrings.DISTRIBUTIONS} <= {name for name, _ in found}


def test_same_text_for_every_hash_seed():
    """Two processes with different hash seeds read the same documents out of the same files."""
    script = """
        import argparse, collections, hashlib, optparse
        from pathlib import Path
        from hfrep.data.docstrings import documents, fingerprint
        found = list(documents(Path(module.__file__) for module in (argparse, collections, optparse)))
        print(len(found), hashlib.sha256(repr(found).encode()).hexdigest(), fingerprint())
    """
    said = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", textwrap.dedent(script)]
        said.append(subprocess.check_output(command, env=os.environ | {"PYTHONHASHSEED": seed}, text=True))
    assert said[0] == said[1]
    assert int(said[0].split()[0]) >= 2


def test_fingerprint_tells_versions_apart(monkeypatch):
    """Another version of a package, one missing, or another reader is another corpus."""
    seen = {docstrings.fingerprint(), docstrings.fingerprint()}
    assert len(seen) == 1
    with monkeypatch.context() as other:
        other.setattr(docstrings, "READER", docstrings.READER + 1)
        seen.add(docstrings.fingerprint())
    with monkeypatch.context() as other:
        other.setattr(docstrings.metadata, "version", lambda name: "0")
        seen.add(docstrings.fingerprint())

    def absent(name):
        raise docstrings.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(docstrings.metadata, "version", absent)
    seen.add(docstrings.fingerprint())
    assert len(seen) == 4


def test_source_files_leave_tests_out_and_come_in_order():
    """Tests and generated doubles are not read, the standard library comes first, no file twice."""
    files = list(docstrings._source_files())
    assert Path(json.__file__) in files
    assert len(set(files)) == len(files)
    assert not [path for path in files if path.name.startswith("modular_")]
    first = next(number for number, path in enumerate(files) if "site-packages" in path.parts)
    assert all("site-packages" in path.parts for path in files[first:])
