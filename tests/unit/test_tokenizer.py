"""Tokenizers: what is promised of each algorithm, and which folders and settings are refused."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import documents
from transformers import AutoTokenizer

from hfrep.data.tokenizer import (
    BERT_TOKENS,
    LONGEST_READ,
    ROBERTA_TOKENS,
    TokenizerSettings,
    _readable,
    encode_documents,
    load_tokenizer,
    prove_tokenizer,
    tokenizer_hash,
    train_tokenizer,
)
from hfrep.errors import ConfigError, DataError, ProofError

ROOT = Path(__file__).parents[2]
SPELLED = [*BERT_TOKENS.values(), *ROBERTA_TOKENS.values()]
SIZES = {"wordpiece": 192, "bpe": 320, "unigram": 64}


@pytest.fixture(scope="session")
def unigram():
    return train_tokenizer(lambda: documents(300), TokenizerSettings(algorithm="unigram", vocab_size=64))


@pytest.fixture(params=["wordpiece", "bpe", "unigram"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def special_ids(tokenizer):
    return set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def test_vocabulary_size_is_exact(tokenizer, request):
    """As many tokens as asked for, numbered without gaps."""
    size = SIZES[request.node.callspec.params["tokenizer"]]
    assert len(tokenizer) == size
    assert sorted(tokenizer.get_vocab().values()) == list(range(size))


def test_special_tokens_in_the_text_stay_text(tokenizer):
    """A document that spells out special tokens gives none, with blanks and without, and the proof agrees."""
    texts = [*SPELLED, " ".join(SPELLED), "".join(SPELLED), *(f"the {token} house{token}." for token in SPELLED)]
    for text, encoding in zip(texts, encode_documents(tokenizer, texts), strict=True):
        assert encoding.ids, text
        assert not special_ids(tokenizer).intersection(encoding.ids), text
    assert not tokenizer.backend_tokenizer.encode_special_tokens
    assert tokenizer.mask_token_id in tokenizer(f"the {tokenizer.mask_token}").input_ids
    prove_tokenizer(tokenizer, texts)


def test_encoding_is_whole_and_bare(tokenizer):
    """Documents are neither cut, nor padded, nor framed, whatever the tokenizer was left set to."""
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=900)
    long, short = encode_documents(tokenizer, ["the house " * 400, "the house"])
    assert len(long.ids) >= 800
    assert 2 <= len(short.ids) < 20
    assert not special_ids(tokenizer).intersection(long.ids + short.ids)


def test_bpe_gives_every_byte_back(bpe):
    """Byte-level BPE decodes to exactly what was encoded, also for what training never saw; nothing is unknown."""
    texts = ["".join(map(chr, range(256))), "🦄 日本語 ﷽ e\u0301 \u200d", "  two  blanks \n\n\t x ", "don't . ' s n't"]
    texts += [chr(sign) for sign in range(0x800)]
    for text, encoding in zip(texts, encode_documents(bpe, texts), strict=True):
        assert bpe.decode(encoding.ids) == text
        assert bpe.unk_token_id not in encoding.ids
    assert set(range(256)) == {byte for text in texts for byte in text.encode()} | {0xC0, 0xC1, *range(0xE0, 256)}


def test_proof_reports(tokenizer, request):
    """The report gives tokens per word, and says exact of bytes only."""
    report = prove_tokenizer(tokenizer, documents(20))
    assert 1 < report.fertility < 8
    assert report.unknown_share == 0
    assert report.exact == (request.node.callspec.params["tokenizer"] == "bpe")
    assert "0.000% unknown, round trip exact" in str(report)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            {"decode": lambda ids: "other"},
            "the trained tokenizer: expected decoding to give the text back, found 'other'",
        ),
        ({"mask_token_id": None}, "expected pad, unk, cls, sep and mask tokens, found no mask"),
        ({"pad_token_id": 2}, "expected special tokens that differ, found"),
        ({"mask_token_id": 77}, r"expected the mask token to be one id, 77, found \[4\]"),
        ({"all_special_ids": range(320)}, "expected text never to become a special token, found one in 'The"),
    ],
)
def test_proof_fails_where_a_promise_does_not_hold(bpe, monkeypatch, broken, words):
    """A round trip that is not exact, or a special token out of text, is a ProofError."""
    for name, value in broken.items():
        monkeypatch.setattr(type(bpe), name, staticmethod(value) if callable(value) else value, raising=False)
    with pytest.raises(ProofError, match=words):
        prove_tokenizer(bpe, ["The house."])


def test_saved_folder_opens_with_auto_tokenizer(tokenizer, tmp_path):
    """All that training and `transformers` need survives saving: special tokens, length, frame, ids, hash."""
    tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    names = ["pad_token", "mask_token", "cls_token", "sep_token", "unk_token"]
    for name in names:
        assert getattr(opened, name) == getattr(tokenizer, name) is not None
    assert len({getattr(opened, f"{name}_id") for name in names}) == len(names)
    assert opened.pad_token_id not in (opened.eos_token_id, opened.bos_token_id)
    assert opened.model_max_length == 512
    assert opened.padding_side == "right"
    framed = opened("the house").input_ids
    assert (framed[0], framed[-1]) == (opened.cls_token_id, opened.sep_token_id)
    assert framed == tokenizer("the house").input_ids
    loaded = load_tokenizer(str(tmp_path))
    assert tokenizer_hash(loaded) == tokenizer_hash(tokenizer)


def test_how_a_tokenizer_was_opened_is_not_saved(tokenizer, tmp_path):
    """That its files were here already is true of this machine only."""
    tokenizer.save_pretrained(tmp_path)
    before = json.loads((tmp_path / "tokenizer_config.json").read_text())
    load_tokenizer(str(tmp_path)).save_pretrained(tmp_path / "again")
    after = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert set(after) <= set(before)
    assert not {"is_local", "local_files_only"} & set(after)


def test_hash_tells_tokenizers_apart(wordpiece, bpe, unigram):
    """Another vocabulary, or another special token, is another tokenizer."""
    assert len({tokenizer_hash(tokenizer) for tokenizer in (wordpiece, bpe, unigram)}) == 3


def test_hash_does_not_depend_on_earlier_calls(tokenizer):
    """Padding and truncation that a call leaves set in the tokenizer are no part of what it is."""
    before = tokenizer_hash(tokenizer)
    tokenizer(["the house", "the"], padding=True, truncation=True, max_length=8)
    assert tokenizer.backend_tokenizer.padding
    assert tokenizer_hash(tokenizer) == before


def test_a_document_in_one_piece_is_read_in_pieces(bpe):
    """A document longer than the library should be given at once is cut before blanks; the result is the same."""
    longest = 0

    def whole():
        yield "\n".join(documents(300)) * 40

    def watched():
        nonlocal longest
        for piece in _readable(whole):
            longest = max(longest, len(piece))
            yield piece

    shape = TokenizerSettings(algorithm="bpe", vocab_size=320)
    assert "".join(watched()) == next(whole())
    assert longest < 1.1 * LONGEST_READ < len(next(whole()))
    assert tokenizer_hash(train_tokenizer(whole, shape)) == tokenizer_hash(train_tokenizer(watched, shape))


def test_case_is_folded_only_where_asked():
    """WordPiece folds case and accents by default, BPE does not; `lowercase` decides otherwise."""

    def pieces(algorithm, lowercase):
        shape = TokenizerSettings(
            algorithm=algorithm, vocab_size=320 if algorithm == "bpe" else 128, lowercase=lowercase
        )
        return encode_documents(train_tokenizer(lambda: documents(60), shape), ["The HOUSE", "the house"])

    folded = {}
    for algorithm, lowercase in [("wordpiece", None), ("wordpiece", False), ("bpe", None), ("bpe", True)]:
        upper, lower = pieces(algorithm, lowercase)
        folded[algorithm, lowercase] = upper.ids == lower.ids
    assert folded == {("wordpiece", None): True, ("wordpiece", False): False, ("bpe", None): False, ("bpe", True): True}


TRAIN = """
import sys
from conftest import documents
from hfrep.data.tokenizer import TokenizerSettings, train_tokenizer
for algorithm, size in (("wordpiece", 192), ("bpe", 320)):
    shape = TokenizerSettings(algorithm=algorithm, vocab_size=size)
    train_tokenizer(lambda: documents(300), shape).save_pretrained(f"{sys.argv[1]}/{algorithm}")
"""


def test_training_twice_gives_the_same_bytes(tmp_path):
    """Two processes with different hash seeds write byte-identical WordPiece and BPE files."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "tests")},
        )
        for seed in ("1", "2")
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    for algorithm in ("wordpiece", "bpe"):
        files = [(tmp_path / seed / algorithm / "tokenizer.json").read_bytes() for seed in ("1", "2")]
        assert hashlib.sha256(files[0]).hexdigest() == hashlib.sha256(files[1]).hexdigest()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"vocab_size": 1000},
            "vocab_size: expected a positive multiple of 64, .* found 1000; give 1024, or add --any_vocab_size",
        ),
        ({"vocab_size": 0}, "expected a positive multiple of 64, .* found 0; give 64"),
        ({"vocab_size": -64}, "found -64; give 64"),
        ({"model_max_length": 0}, "model_max_length: expected 1 or more, found 0"),
    ],
)
def test_bad_settings(settings, words):
    """A size that is no multiple of 64 is refused, and the nearest one named."""
    with pytest.raises(ConfigError, match=words):
        TokenizerSettings(**settings)


def test_any_vocabulary_size_can_be_asked_for():
    """With the explicit setting a size that is no multiple of 64 is trained."""
    settings = TokenizerSettings(algorithm="bpe", vocab_size=300, any_vocab_size=True)
    assert len(train_tokenizer(lambda: documents(300), settings)) == 300


@pytest.mark.parametrize("algorithm", SIZES)
def test_too_little_text(algorithm):
    """Text with fewer different words than the vocabulary needs is refused, with the size it is enough for."""
    with pytest.raises(
        DataError, match=r"enough different words for 1,024 tokens, found enough for \d+; give more text"
    ):
        train_tokenizer(lambda: ["the red house"] * 3, TokenizerSettings(algorithm=algorithm, vocab_size=1024))


def test_folder_without_tokenizer_is_refused(tmp_path):
    """The library would open such a folder as an empty tokenizer of five tokens."""
    with pytest.raises(DataError, match=r"expected tokenizer\.json or vocabulary files, found nothing; name the right"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match=r"expected tokenizer\.json or vocabulary files, found config\.json"):
        load_tokenizer(str(tmp_path))


def test_vocabulary_too_small_for_its_alphabet():
    """Where bytes and special tokens alone are more than asked for, the smallest size that serves is named."""
    shape = TokenizerSettings(algorithm="bpe", vocab_size=256)
    with pytest.raises(DataError, match="found 256 tokens, where these alone take 261; give --vocab_size 320 or more"):
        train_tokenizer(lambda: documents(300), shape)


@pytest.mark.parametrize(("file", "text"), [("tokenizer_config.json", "BertTokenizer"), ("vocab.txt", "")])
def test_d12_settings_without_a_vocabulary(tmp_path, file, text):
    """D12: neither settings alone nor an empty vocabulary open as the library's tokenizer of five special tokens."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / file).write_text(f'{{"tokenizer_class": "{text}"}}' if text else "")
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == 5
    with pytest.raises(DataError, match=r"found config\.json|expected a vocabulary, found special tokens only; save"):
        load_tokenizer(str(tmp_path))


def test_tokenizer_that_the_library_cannot_read(tmp_path, bpe):
    """Valid JSON with a piece missing, on which the library raises a bare Exception, gets its sentence too."""
    bpe.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    del content["model"]["vocab"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="expected a tokenizer that opens, found Exception: Missing vocab"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "{}", "[]"])
def test_damaged_tokenizer_is_refused(tmp_path, content):
    """A tokenizer.json that is none is told as such, not as a traceback of the library."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(
        DataError, match=r"tokenizer .*: expected a tokenizer that opens, found \w+Error: .*; save it again"
    ):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "expected a folder with a tokenizer, or a Hub id, found no folder ./nowhere; correct the path"),
        ("no-one/nothing", "no-one/nothing', which is no folder here and not in the cache, and the Hub out of reach"),
    ],
)
def test_missing_tokenizer(name, words):
    """A path that is not there, and a Hub id without a network, are told apart."""
    with pytest.raises(ConfigError, match=f"tokenizer {name}: .*{words}"):
        load_tokenizer(name)


@pytest.mark.parametrize(("pad", "found"), [("</s>", "'</s>'"), ("<unk>", "'<unk>'"), (None, "none")])
def test_pad_must_be_a_token_of_its_own(bpe, tmp_path, pad, found):
    """Where pad is the end token or another special one, or there is none, the tokenizer is refused."""
    bpe.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    opened.pad_token = pad
    opened.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=f"expected a pad token of its own, found {found}; add one with"):
        load_tokenizer(str(tmp_path))


def test_import_of_tokenizers_is_the_library():
    """The folder tokenizers/ in the repository's root must not hide the library, even searched first."""
    assert not (ROOT / "tokenizers" / "__init__.py").exists()
    command = [sys.executable, "-c", "import tokenizers; print(tokenizers.__file__)"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(ended.stdout.strip()).parent.parent.name == "site-packages"
    assert Path(sys.modules["tokenizers"].__file__).parent.parent.name == "site-packages"
