"""The built-in corpus: English prose from the docstrings of the Python packages that are installed anyway.

Every installation of hfrep brings some 130 MB of Python source, whose docstrings are real English on one subject. So
the main job trains on real text on any machine, without network and without a corpus to ship. What is read is a fixed
list of distributions in a fixed order; with pinned versions and one Python version the corpus is the same byte for
byte, and its fingerprint is those versions.

A document is one source file: all that its docstrings say, a paragraph a line. Shorter ones (a function's two lines)
would teach a language model little, for packed documents cannot see each other.

Parsing takes most of a minute of one core, so the files are read by one process per core; which of their paragraphs
are new is decided in this one, in the order of the files, so that the number of processes does not show in the text.
"""

import ast
import gc
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
MAX_PROCESSES = 8


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
    processes = min(os.cpu_count() or 1, MAX_PROCESSES)
    with open(folder / "documents.txt", "w", encoding="utf-8", newline="\n") as file:
        for document in documents(_source_files(), processes=processes):
            file.write(f"{document}\n\n")


def documents(sources: Iterable[Path], *, processes: int = 1) -> Iterator[str]:
    """One document per source file that has enough to say; what an earlier one has said is left out."""
    novelty = Novelty()
    for said in _read(list(sources)) if processes == 1 else _read_in_parallel(list(sources), processes):
        document = "\n".join(text for text in said if novelty.admits(text))
        if len(document.split()) >= MIN_DOCUMENT_WORDS:
            yield document


def _read(sources: list[Path]) -> Iterator[list[str]]:
    """The paragraphs of each of `sources`, less those of docstrings that an earlier one has, word for word."""
    known: set[bytes] = set()
    for source in sources:
        said: list[str] = []
        with _quick_and_quiet():
            for docstring in _docstrings(source):
                digest = hashlib.blake2b(docstring.encode(errors="surrogatepass"), digest_size=8).digest()
                if digest not in known:
                    known.add(digest)
                    said.extend(paragraphs(docstring))
        yield said


def _read_in_parallel(sources: list[Path], processes: int) -> Iterator[list[str]]:
    """What `_read` gives, file i by process i modulo `processes`; so a file repeats only what is left out later."""
    # Processes of our own: a fork of one that has started torch's threads may hang, and a spawned one imports it anew.
    command = [sys.executable, "-P", "-m", "hfrep.data.docstrings"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    readers: list[subprocess.Popen[str]] = []
    try:
        for first in range(processes):
            reader = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, encoding="utf-8"
            )
            readers.append(reader)
            assert reader.stdin
            with suppress(BrokenPipeError), reader.stdin:  # one that ended already is noticed when it is read
                json.dump([str(source) for source in sources[first::processes]], reader.stdin)
        for number in range(len(sources)):
            output = readers[number % processes].stdout
            assert output
            line = output.readline()
            if not line:
                raise RuntimeError(f"the process that reads {sources[number]} has ended: see its message above")
            yield json.loads(line)
    finally:
        for reader in readers:
            reader.kill()
            with reader:  # closes what it wrote to and waits for its end
                pass


def _read_for_another() -> None:
    """A process of `_read_in_parallel`: paths on standard input, a line of JSON for each on standard output."""
    for stop in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(stop, signal.SIG_DFL)  # whoever started this one speaks for both
    for said in _read([Path(path) for path in json.load(sys.stdin)]):
        print(json.dumps(said))


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


if __name__ == "__main__":
    _read_for_another()
