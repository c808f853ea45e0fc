"""Texts that are cut and looked up give the tokens of the whole text, word starts and lengths included."""

import random

import numpy as np
import pytest
from conftest import RECIPES, documents
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfrep.data import encoding
from hfrep.data.encoding import Encoder, cuts, whole
from hfrep.data.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer

# Blanks of all kinds, marks that go with what is before or behind them, signs that normalizers change, special tokens.
SIGNS = [
    *" \n\t\r\x0b\x1c\x85\u00a0\u1680\u2028\u200b\u200d\u3000",
    *"  ab.,'1É́ßſΣ日本🦄¨ﷺ\x00\ufffd▁Ġ",
    *["[MASK]", " <mask>", "<s>", "'s ", "  ", "\n\n"],
]


@pytest.fixture(scope="module")
def unigram() -> PreTrainedTokenizerFast:
    return train_tokenizer(
        lambda: documents(300), TokenizerSettings(algorithm="unigram", vocab_size=112, any_vocab_size=True)
    )


@pytest.fixture(params=["wordpiece", "bpe", "unigram", "shipped wordpiece", "shipped bpe"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    if request.param.startswith("shipped"):
        return load_tokenizer(str(RECIPES.parent / "tokenizers" / f"{request.param.split()[1]}-8k"))
    return request.getfixturevalue(request.param)


def changed(tokenizer: PreTrainedTokenizerFast, **parts: object) -> PreTrainedTokenizerFast:
    """A copy with other parts of the backend."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def odd_texts(number: int, signs: list[str] = SIGNS) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(signs, k=draw.randint(0, 12))) for _ in range(number)]


def assert_same(one: encoding.Encoded, other: encoding.Encoded) -> None:
    for name in one._fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_pieces_give_the_tokens_of_the_whole(tokenizer):
    texts = odd_texts(5_000) + documents(50)
    encode = Encoder(tokenizer)
    assert encode._pieces is not None
    encode._checked = True  # so that nothing goes back to whole texts
    assert_same(encode(texts), whole(tokenizer, texts))
    assert_same(encode(texts[::-1]), whole(tokenizer, texts[::-1]))


def test_short_texts_are_encoded_apart(tokenizer, monkeypatch):
    """Many in one text, with a special token between, or one by one where they spell a special token out."""
    spelling = [sign for sign in SIGNS if "MASK" in sign or "mask" in sign or sign == "<s>"]
    plain = odd_texts(3_000, [sign for sign in SIGNS if sign not in spelling])
    apart, calls = encoding.Apart(tokenizer), []
    monkeypatch.setattr(
        encoding, "whole", lambda *texts, **settings: calls.append(len(texts[1])) or whole(*texts, **settings)
    )
    assert_same(apart(plain), whole(tokenizer, plain))
    assert max(calls) == 3_000 / encoding.JOINED
    texts = odd_texts(3_000)
    assert_same(apart(texts), whole(tokenizer, texts))


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()])},
        {"pre_tokenizer": pre_tokenizers.Whitespace()},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first")},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="never")},
    ],
    ids=str,
)
def test_what_the_tables_name_can_be_cut(bpe, unigram, parts):
    spaced = "Metaspace" in str(parts) or "WhitespaceSplit" in str(parts)
    tokenizer = changed(unigram if spaced else bpe, **parts)
    pieces = encoding._Pieces.of(tokenizer)
    assert pieces is not None
    texts = odd_texts(2_000)
    assert_same(pieces.encode(texts), whole(tokenizer, texts))


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": normalizers.Strip()},
        {"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("x")])},
        {"pre_tokenizer": None},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(use_regex=False)},
        {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
        {"pre_tokenizer": pre_tokenizers.Split(Regex(r"\n"), "isolated")},
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel()])},
        # "a \u0301 b" loses the mark, and then a run of blanks reaches over where it was.
        {"normalizer": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])},
        {"normalizer": normalizers.BertNormalizer()},
    ],
    ids=str,
)
def test_other_rules_have_their_texts_whole(bpe, parts):
    tokenizer = changed(bpe, **parts)
    assert cuts(tokenizer) == []
    texts = [*documents(20), *odd_texts(200), "a \u0301 \u0301 b", "日 本 語"]
    assert_same(Encoder(tokenizer)(texts), whole(tokenizer, texts))


def test_a_token_that_reaches_over_a_blank(bpe):
    tokenizer = changed(bpe)
    tokenizer.add_tokens([AddedToken("the house", special=False)])
    texts = ["near the house, under the house"]
    assert whole(tokenizer, texts).ids.tolist().count(len(tokenizer) - 1) == 2
    assert cuts(tokenizer) == []
    assert_same(Encoder(tokenizer)(texts), whole(tokenizer, texts))


def test_tables_that_are_wrong_cost_no_token(bpe, monkeypatch):
    """Where the first texts come out differently, all are encoded whole."""
    for table in ("LOCAL_NORMALIZERS", "KEEPING_ENDS"):
        monkeypatch.setattr(encoding, table, {"Prepend"})
    tokenizer = changed(bpe, normalizer=normalizers.Prepend("x"))
    assert cuts(tokenizer)
    encode = Encoder(tokenizer)
    for texts in (documents(20), documents(20, seed=1)):
        assert_same(encode(texts), whole(tokenizer, texts))


def test_memory_is_bounded(tokenizer, monkeypatch):
    monkeypatch.setattr(encoding, "KNOWN_CHARACTERS", 200)
    encode = Encoder(tokenizer)
    for number in range(5):
        texts = [" ".join(f"{word}{number}" for word in document.split()) for document in documents(10)]
        assert_same(encode(texts), whole(tokenizer, texts))
        if number:  # pieces of the first texts were known when these were looked at
            assert all(piece.rstrip().endswith(str(number)) or not piece.strip() for piece in encode._pieces)


def test_each_piece_is_tokenized_once(bpe):
    asked: list[str] = []

    def counted(texts):
        asked.extend(texts)
        return whole(bpe, texts)

    encode = Encoder(bpe)
    encode._checked = True
    encode._pieces._tokenize = counted
    for _ in range(3):
        encode(["the old house", "the new house and the old boat"])
    assert sorted(asked) == sorted(["the", " old", " house", " new", " and", " the", " boat"])


@pytest.mark.parametrize(
    ("normalizer", "levels"),
    [
        (normalizers.BertNormalizer(), 2),
        (normalizers.BertNormalizer(strip_accents=False, clean_text=False, lowercase=False), 2),
        (normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]), 2),
        (normalizers.NFC(), 1),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "further", [[], [pre_tokenizers.Digits()], [pre_tokenizers.Punctuation("merged_with_next")]], ids=str
)
def test_words_are_cut_at_punctuation(wordpiece, normalizer, levels, further):
    """A sign of ASCII is a word of its own for BERT, but where a normalizer makes one character of it and a mark."""
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), *further])
    tokenizer = changed(wordpiece, normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    assert len(cuts(tokenizer)) == levels
    texts = odd_texts(2_000, [*"ab1.,=<_'\"\u0338\u0301\x00 Σ日’…"])
    pieces = encoding._Pieces.of(tokenizer)
    assert_same(pieces.encode(texts), whole(tokenizer, texts))


def test_a_word_is_tokenized_once_with_any_punctuation(wordpiece, monkeypatch):
    asked: list[str] = []

    def counted(self, texts):
        asked.extend(texts)
        return whole(wordpiece, texts)

    monkeypatch.setattr(encoding.Apart, "__call__", counted)
    encode = Encoder(wordpiece)
    encode._checked = True
    encode(["house, (house) house", "house."])
    assert asked == ["house", ",", " ", "(", ")", "."]
