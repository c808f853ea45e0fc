"""Corpora: what each format reads as, which documents are held out, and what is said of input that cannot be read."""

import gzip
import importlib
import json
import re
import time
import zlib
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import documents

from hfrep.data import hub_corpus
from hfrep.data.blocks import BlockSettings
from hfrep.data.corpus import CorpusSettings, open_corpus, open_training_and_validation
from hfrep.data.text import pack_text
from hfrep.errors import ConfigError, DataError

THREE = ["One fish.\nTwo fish.", "Red fish.", "Grüner Fisch 🦄."]
BLANK = "\n\n".join(THREE) + "\n"


def read(path, **settings):
    return list(open_corpus(str(path), CorpusSettings(**settings)).documents())


def split(path, **settings):
    (train,), (held,) = open_training_and_validation(CorpusSettings(corpus=[str(path)], **settings))
    return list(train.documents()), list(held.documents())


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet_file(path, columns):
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("separator", "content", "expected"),
    [
        ("blank", BLANK, THREE),
        ("blank", "\n\n\n" + BLANK.replace("\n\n", "\n \t\n\n") + "\n\n", THREE),
        ("blank", BLANK.replace("\n", "\r\n"), [THREE[0].replace("\n", "\r\n"), *THREE[1:]]),
        ("blank", BLANK.rstrip("\n"), THREE),
        ("line", BLANK, ["One fish.", "Two fish.", *THREE[1:]]),
        ("file", BLANK, [BLANK.strip()]),
        ("^(One|Red|Grün)", BLANK, THREE),
        ("fish.$", "before\nOne fish.\nafter", ["before", "One fish.\nafter"]),
    ],
    ids=["blank", "white space", "crlf", "no last newline", "line", "file", "regex", "regex to the line's end"],
)
def test_what_ends_a_document(tmp_path, separator, content, expected):
    """Text is cut at blank lines (white space only counts), at each line, not at all, or where a line matches."""
    assert read(written(tmp_path, "a.txt", content), document_separator=separator) == expected


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", BLANK),
        ("a.jsonl", "".join(json.dumps({"n": 1, "text": text}) + "\n\n" for text in [*THREE, "", None])),
        ("a.csv", "n,text\r\n" + "".join(f'1,"{text}"\r\n' for text in [*THREE, ""])),
    ],
)
def test_each_format_gives_the_same_documents(tmp_path, name, content, zipped):
    """Text, JSON lines and CSV (with a newline inside a field), plain and gzipped; empty documents are left out."""
    raw = content.encode()
    path = written(tmp_path, f"{name}.gz", gzip.compress(raw)) if zipped else written(tmp_path, name, raw)
    assert read(path) == THREE


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()])
def test_parquet_keeps_text_in_several_ways(tmp_path, kind):
    """Text is text, however pandas or another writer stored it."""
    path = parquet_file(tmp_path / "a.parquet", {"text": pa.array(THREE).cast(kind)})
    assert read(path) == THREE


def test_parquet_and_another_column(tmp_path):
    """Parquet reads as the others do, a null is no document, and the column is chosen by name."""
    path = parquet_file(tmp_path / "a.parquet", {"body": [*THREE, None], "n": [1, 2, 3, 4]})
    assert read(path, text_column="body") == THREE


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "One."), ("a.jsonl", '{"text": "One."}'), ("a.csv", "text\nOne.")]
)
def test_byte_order_mark_is_no_text(tmp_path, name, content):
    """The mark that some editors and spreadsheets put first is neither text nor part of a column's name."""
    assert read(written(tmp_path, name, "\ufeff" + content)) == ["One."]


def test_folder_is_read_in_path_order(tmp_path):
    """A folder's supported files are read in the order of their paths, and other files are not."""
    (tmp_path / "b").mkdir()
    written(tmp_path, "b/z.txt", "third")
    written(tmp_path, "b/a.jsonl", '{"text": "second"}')
    written(tmp_path, "a.txt", "first")
    written(tmp_path, "README.md", "not this")
    assert read(tmp_path) == ["first", "second", "third"]


def test_first_documents_only(corpus_file):
    """`max_documents` gives the first ones, and again on every pass."""
    corpus = open_corpus(str(corpus_file), CorpusSettings(max_documents=7))
    assert list(corpus.documents()) == list(corpus.documents()) == documents(300)[:7]


def test_built_in_corpus_is_read_from_the_cache(tmp_path, monkeypatch):
    """`docstrings` is built once, into the cache folder given, a blank line after each document."""
    built = []
    monkeypatch.setattr("hfrep.data.docstrings._source_files", lambda: iter(built.append(1) or [json.__file__]))
    monkeypatch.setattr("hfrep.data.docstrings.documents", lambda sources, processes: (list(sources), *THREE)[1:])
    for _ in range(2):
        assert read("docstrings", cache_dir=str(tmp_path)) == THREE
    assert built == [1]
    assert list(tmp_path.glob("docstrings-*/documents.txt"))


def test_fingerprint_is_the_contents(tmp_path):
    """Another path is the same corpus; other text, another reading of it, or another format is another corpus."""
    (tmp_path / "elsewhere").mkdir()
    path, moved = written(tmp_path, "a.txt", BLANK), written(tmp_path, "elsewhere/b.txt", BLANK)
    here = open_corpus(str(path), CorpusSettings()).fingerprint
    assert open_corpus(str(moved), CorpusSettings()).fingerprint == here
    others = [{"document_separator": "line"}, {"max_documents": 2}, {"text_column": "body"}]
    seen = {here, *(open_corpus(str(path), CorpusSettings(**other)).fingerprint for other in others)}
    seen.add(open_corpus(str(written(tmp_path, "c.txt", BLANK + ".")), CorpusSettings()).fingerprint)
    seen.add(open_corpus(str(written(tmp_path, "c.jsonl", BLANK)), CorpusSettings()).fingerprint)
    assert len(seen) == 6


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.5])
def test_hold_out_covers_everything_once(corpus_file, fraction):
    """Every document is either trained on or held out, in order; the share is the one asked for."""
    train, held = split(corpus_file, validation_fraction=fraction)
    whole = documents(300)
    assert sorted(train + held) == sorted(whole)
    for part in (train, held):
        places = [whole.index(text) for text in part]
        assert all(one < next_ for one, next_ in pairwise(places))
    assert 1 <= len(held) <= max(8, 300 * fraction * 1.3)
    assert len(held) >= 300 * fraction * 0.7 - 3


def test_hold_out_is_a_function_of_the_text(tmp_path, corpus_file):
    """What is held out does not change with the order of the documents, nor with others added."""
    _, held = split(corpus_file, validation_fraction=0.1)
    shuffled = [*documents(300)[::-1], *documents(200, seed=9)]
    _, after = split(written(tmp_path, "a.txt", "\n\n".join(shuffled)), validation_fraction=0.1)
    assert set(held) == set(after) & set(documents(300))


@pytest.mark.parametrize("fraction", [0.001, 0.999])
@pytest.mark.parametrize("number", [2, 3, 5])
def test_tiny_corpus_holds_out_one(tmp_path, number, fraction):
    """Two documents are enough: one is trained on, one held out, where the share says none or all of them."""
    texts = [f"Document {n}." for n in range(number)]
    path = written(tmp_path, "a.txt", "\n".join(texts))
    train, held = split(path, document_separator="line", validation_fraction=fraction)
    assert len(held) == 1
    assert sorted(train + held) == texts


def test_given_validation_corpus_leaves_the_training_whole(tmp_path, corpus_file):
    """With a validation corpus nothing is held out, and the parts differ in their fingerprints without one."""
    other = written(tmp_path, "v.txt", BLANK)
    settings = CorpusSettings(corpus=[str(corpus_file)], validation_corpus=[str(other)])
    (train,), (held,) = open_training_and_validation(settings)
    assert list(train.documents()) == documents(300)
    assert list(held.documents()) == THREE
    (train,), (held,) = open_training_and_validation(CorpusSettings(corpus=[str(corpus_file)]))
    assert train.fingerprint != held.fingerprint


def damaged(raw):
    packed = bytearray(gzip.compress(raw, mtime=0))
    packed[10] = 0xFF  # a kind of block that deflate does not have
    with pytest.raises(zlib.error):
        gzip.decompress(packed)
    return bytes(packed)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", r"a\.txt: expected text, found an empty file; correct the file"),
        ("a.txt", b"fine\nfine\nb\0d\n", "expected text, found a zero byte in line 3: a binary file"),
        ("a.txt", "fine\nGrün\n".encode("latin-1"), "expected UTF-8, found other bytes in line 2"),
        ("a.pdf", b"%PDF", r"ending in txt, jsonl, csv, parquet \(also .gz\), found \.pdf"),
        ("a.txt.gz", gzip.compress(b"fine\n" * 999)[:-12], "expected a readable file, found Compressed file ended"),
        ("a.txt.gz", damaged(b"fine\n"), "expected a readable file, found Error -3"),
        ("a.txt.gz", b"fine\n", "expected a readable file, found Not a gzipped file"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "expected a JSON object a line, found something else in line 2"),
        ("a.jsonl", '["text"]\n', "found a list in line 1"),
        ("a.jsonl", '{"text": 3}\n', "expected text in column text, found int in line 1"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "expected UTF-8, found half of a character in line 1"),
        ("a.jsonl", '{"id": 1, "body": "b"}', "a column 'text', found id, body; name one of these with --text_column"),
        ("a.csv", "id,body\n1,b\n", "a column 'text', found id, body; name one of these with --text_column"),
        ("a.csv", "text\nfine\nba\rd\n", "expected a CSV file, found new-line character .* after line 2"),
        ("a.parquet", b"PAR?", "expected a parquet file, found "),
    ],
)
def test_unreadable_files_are_named_with_the_line(tmp_path, name, content, words):
    """What is wrong with a file, and in which line, is in the error's words."""
    with pytest.raises(DataError, match=words):
        read(written(tmp_path, name, content))


def test_parquet_columns_are_named(tmp_path):
    """A parquet file without the column names those it has; a column of numbers is no text."""
    path = parquet_file(tmp_path / "a.parquet", {"id": [1], "body": ["b"]})
    with pytest.raises(DataError, match="expected a column 'text', found id, body; name one of these"):
        read(path)
    with pytest.raises(DataError, match="expected text in column id, found int64"):
        read(path, text_column="id")


def test_damaged_parquet(tmp_path):
    """A parquet file whose pages are damaged, while its footer is whole, is named."""
    path = parquet_file(tmp_path / "a.parquet", {"text": [f"{'x' * 50}{n}" for n in range(9000)]})
    content = bytearray(path.read_bytes())
    content[200:20000] = b"\xff" * 19800
    with pytest.raises(DataError, match=r"a\.parquet: expected a parquet file, found "):
        read(written(tmp_path, "a.parquet", bytes(content)))


@pytest.mark.parametrize("name", ["missing.txt", "./missing", "some/where/missing", "missing/"])
def test_missing_path_is_told_as_one(tmp_path, monkeypatch, name):
    """What can only be a path is not looked for on the Hub."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected a file or a folder, found nothing there"):
        read(name)


def test_folder_without_supported_files(tmp_path):
    """A folder without a file of a known format is refused."""
    written(tmp_path, "a.md", "text")
    with pytest.raises(DataError, match=r"expected files ending in txt, jsonl, csv, parquet.*, found none below it"):
        read(tmp_path)


@pytest.mark.parametrize(("content", "number"), [("Only one.", 1), ("Twice.\n\nTwice.", 1), (" \n\n", 0)])
def test_one_document_cannot_be_split(tmp_path, content, number):
    """A corpus of one document, twice the same, or none, cannot be trained on and held out."""
    words = f"expected two documents or more that differ.*found {number}; give --validation_corpus, or another --doc"
    with pytest.raises(DataError, match=words):
        split(written(tmp_path, "a.txt", content))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_id_offline_fails_at_once(tmp_path, streaming):
    """A Hub id without a network fails in under two seconds, and says that it is not in the cache either."""
    importlib.import_module("datasets")  # takes a second, which is not part of the time

    started = time.perf_counter()
    with pytest.raises(
        DataError, match=r"--corpus no-one/nothing: .* found not in the cache, and the Hub out of reach"
    ):
        read("no-one/nothing", streaming=streaming, cache_dir=str(tmp_path))
    assert time.perf_counter() - started < 2


@pytest.fixture
def hub(monkeypatch):
    """A Hub that has one dataset, a/b, with two splits, and knows no other; gives the list of what was loaded."""
    datasets = importlib.import_module("datasets")
    splits = {
        name: datasets.Dataset.from_dict({"text": [name, "more", None], "n": [1, 2, 3]})
        for name in ("train", "validation")
    }
    loaded = []

    def load(identifier, config, *, split, revision, streaming=False):
        if identifier != "a/b":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset {identifier!r} doesn't exist on the Hub")
        if config == "one-split" and split != "train":
            raise ValueError(f"Unknown split {split!r}. Should be one of ['train'].")
        if revision not in (None, "v1"):
            raise ValueError(f"Revision {revision!r} not found")
        loaded.append(split)
        return splits[split].to_iterable_dataset() if streaming else splits[split]

    monkeypatch.setattr(hub_corpus, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return loaded


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_dataset(tmp_path, hub, streaming):
    """A Hub dataset gives its text column, a stream is written once, and no document is empty."""
    for _ in range(2):
        settings = CorpusSettings(streaming=streaming, cache_dir=str(tmp_path))
        assert list(open_corpus("a/b", settings).documents()) == ["train", "more"]
    assert len(hub) == (1 if streaming else 2)


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_dataset_is_not_validated_on_what_it_trains_on(tmp_path, hub, streaming):
    """Named for both, a dataset gives its validation split, or says that it has none; another may give train."""
    options = {"streaming": streaming, "cache_dir": str(tmp_path)}
    (train,), (held,) = open_training_and_validation(
        CorpusSettings(corpus=["a/b"], validation_corpus=["a/b"], **options)
    )
    assert (next(train.documents()), next(held.documents())) == ("train", "validation")
    assert train.fingerprint != held.fingerprint
    one = ["a/b:one-split"]
    _, (held,) = open_training_and_validation(CorpusSettings(corpus=["a/b"], validation_corpus=one, **options))
    assert next(held.documents()) == "train"
    with pytest.raises(DataError, match=r"a/b:one-split: .* found Unknown split 'validation'"):
        open_training_and_validation(CorpusSettings(corpus=one, validation_corpus=one, **options))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("a/none", "text", "--corpus a/none: .* found Dataset 'a/none' doesn't exist on the Hub; correct the name"),
        ("a/b", "body", "expected a column 'body', found text, n; name one of these with --text_column"),
        ("a/b", "n", "expected text in column n, found int; name another with --text_column"),
    ],
)
def test_bad_hub_dataset(tmp_path, hub, streaming, name, column, words):
    """A name that does not exist, a column that is not there and one of numbers are told, streamed or not."""
    with pytest.raises(DataError, match=words):
        read(name, text_column=column, streaming=streaming, cache_dir=str(tmp_path))


def test_unreachable_hub_is_not_tried(monkeypatch):
    """Without a network `load_dataset` is told so: without HF_HUB_OFFLINE it would try for 23 seconds."""
    datasets = importlib.import_module("datasets")
    told = []

    def load(*_, **__):
        told.append(datasets.config.HF_HUB_OFFLINE)
        raise ConnectionError("Couldn't reach it")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_corpus, "hub_reachable", lambda: False)
    with pytest.raises(DataError, match="found not in the cache, and the Hub out of reach"):
        open_corpus("no-one/nothing", CorpusSettings())
    assert told == [True]
    assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"corpus_weights": [0.0]}, "corpus_weights: expected weights above 0, found 0.0; leave a corpus out"),
        ({"corpus_weights": [float("nan")]}, "corpus_weights: expected weights above 0, found nan"),
        ({"validation_fraction": 0.0}, "validation_fraction: expected a share above 0 and below 1, found 0.0"),
        ({"validation_fraction": 1.0}, "expected a share above 0 and below 1, found 1.0"),
        ({"max_documents": 0}, "max_documents: expected 1 or more, found 0"),
        ({"corpus_weights": [0.5, 0.5]}, r"corpus_weights: expected one weight per corpus \(1\), found 2"),
    ],
)
def test_bad_settings(settings, words):
    """A share, a number or weights that mean nothing are refused before anything is read."""
    with pytest.raises(ConfigError, match=words):
        CorpusSettings(**settings)


def test_bad_regular_expression(corpus_file):
    """A separator that is no regular expression is quoted with what is wrong."""
    words = "document_separator: expected blank, line, file or a regular expression, found '(' (missing )"
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(corpus_file, document_separator="(")


def opened_text(tmp_path, tokenizer, content, separator="blank"):
    path = written(tmp_path, "a.txt", content)
    corpora = CorpusSettings(
        corpus=[str(path)],
        validation_corpus=[str(path)],
        document_separator=separator,
        cache_dir=str(tmp_path / "cache"),
    )
    return pack_text(corpora, BlockSettings(sequence_length=32), tokenizer, seed=0)


def test_too_little_for_a_row(tmp_path, wordpiece):
    """How much there is, and how much a row takes."""
    with pytest.raises(DataError, match=r"a.txt: expected text for at least one row of 32 tokens, found \d+ tokens"):
        opened_text(tmp_path, wordpiece, "The old house.\n\nThe river.\n")


def test_short_documents_are_told(tmp_path, wordpiece):
    """Lines taken for documents: the median is said, and the setting that may be wrong; long ones are no matter."""
    texts = documents(40)
    short = list(opened_text(tmp_path, wordpiece, "\n".join(" ".join(texts).split(".")), "line").advice())
    assert len(short) == 1
    assert re.search(r"documents have \d+ tokens in the median; .* try another --document_separator", short[0])
    assert list(opened_text(tmp_path, wordpiece, "\n\n".join(text * 9 for text in texts)).advice()) == []
