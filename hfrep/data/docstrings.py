"""The built-in corpus: English prose from the docstrings of the Python packages that are installed anyway.

Every installation of hfrep brings some 130 MB of Python source, whose docstrings are real English on one subject. So
the main job trains on real text on any machine, without network and without a corpus to ship. What is read is a fixed
list of distributions in a fixed order; with pinned versions and one Python version the corpus is the same byte for
byte, and its fingerprint is those versions.

A document is one source file: all that its docstrings say, a paragraph a line. Shorter ones (a function's two lines)
would teach a language model little, for packed documents cannot see each other.
"""

import ast
import gc
import hashlib
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from hfrep.data.cache import prepared
from hfrep.data.novelty import Novelty
from hfrep.data.prose import paragraphs

# Raised whenever other text comes out of the same packages: it is part of the fingerprint.
READER = 1

# Direct and indirect dependencies of hfrep itself, none of its extras, by how much prose they hold.
DISTRIBUTIONS = tuple(
    "torch transformers numpy scipy scikit-learn pandas matplotlib sympy networkx huggingface_hub datasets accelerate"
    " peft evaluate tokenizers fonttools tensorboard pydantic Werkzeug mpmath pillow narwhals rich click Pygments"
    " fsspec grpcio Jinja2 protobuf joblib aiohttp urllib3 packaging pyparsing anyio absl-py Markdown filelock"
    " python-dateutil pyarrow attrs psutil httpx2 requests dill tqdm".split()
)
STANDARD_LIBRARY_ONLY = frozenset({"site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "ensurepip"})
TESTS = frozenset({"test", "tests", "testing"})
MIN_DOCUMENT_WORDS = 32


def fingerprint() -> str:
    """Hex digest of all that decides the text: the reader, Python, and the version of each distribution."""
    facts = [f"reader {READER}", f"python {platform.python_version()}"]
    for name in DISTRIBUTIONS:
        try:
            facts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            facts.append(f"{name} absent")
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=16).hexdigest()


def docstrings_file(cache: Path) -> Path:
    """The corpus as a text file, a paragraph a line and an empty line after each document; built once per `cache`.

    Raises:
        DataError: `cache` cannot be written.
    """
    return prepared(cache / f"docstrings-{fingerprint()[:16]}", _write) / "documents.txt"


def _write(folder: Path) -> None:
    with open(folder / "documents.txt", "w", encoding="utf-8", newline="\n") as file, _quick_and_quiet():
        for document in documents(_source_files()):
            file.write(f"{document}\n\n")


def documents(sources: Iterator[Path]) -> Iterator[str]:
    """One document per source file that has enough to say; what an earlier one has said is left out."""
    novelty = Novelty()
    for source in sources:
        said = [text for docstring in _docstrings(source) for text in paragraphs(docstring) if novelty.admits(text)]
        document = "\n".join(said)
        if len(document.split()) >= MIN_DOCUMENT_WORDS:
            yield document


def _source_files() -> Iterator[Path]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py"), key=lambda path: path.relative_to(library).as_posix()):
        if not (TESTS | STANDARD_LIBRARY_ONLY).intersection(path.relative_to(library).parts):
            yield path
    for name in DISTRIBUTIONS:
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            continue
        for file in sorted(files, key=str):
            # transformers keeps most models twice: modeling_x.py is generated from modular_x.py.
            if file.suffix == ".py" and not TESTS.intersection(file.parts) and not file.name.startswith("modular_"):
                yield Path(str(file.locate()))


def _docstrings(source: Path) -> Iterator[str]:
    """The strings of `source` that document something, in its order; none where this Python cannot parse the file."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    nodes: list[ast.stmt] = list(reversed(tree.body))
    while nodes:
        node = nodes.pop()
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for decorator in node.decorator_list:
                    yield from _long_strings(decorator)
                inner = node.body if isinstance(node, ast.ClassDef) else [*node.body[:1], *_definitions(node.body[1:])]
                nodes.extend(reversed(inner))
            case ast.If() | ast.Try():
                nodes.extend(reversed([*node.body, *node.orelse]))
            case ast.Expr() | ast.Assign() | ast.AnnAssign():
                yield from _long_strings(node)


def _definitions(body: list[ast.stmt]) -> list[ast.stmt]:
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def _long_strings(node: ast.AST) -> Iterator[str]:
    """Strings of several lines outside functions: documentation that is attached by a call or shared by a constant."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner.value.count("\n") > 1:
            yield inner.value


@contextmanager
def _quick_and_quiet() -> Iterator[None]:
    """Syntax trees hold no cycles, and collecting garbage between them takes a quarter of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the compiler finds odd in other people's source
            yield
    finally:
        if collecting:
            gc.enable()
