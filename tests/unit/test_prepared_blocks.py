"""Prepared blocks: the rows come back as they were packed, and whatever does not fit a training is refused."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import documents
from huggingface_hub import DatasetCard
from pyarrow import parquet

from hfrep.card.blocks import blocks_card
from hfrep.data import block_shards
from hfrep.data.blocks import BlockSettings
from hfrep.data.corpus import BUILT_IN, CorpusSettings, on_hub, public_name
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.prepared_blocks import PreparedBlocks, PreparedFacts, prove_prepared, write_prepared
from hfrep.data.text import TextSettings, open_text, pack_text, prepared_facts, settled
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, DataError, HfrepError, ProofError

LENGTH = 32
FILES = ("tokens.bin", "marks.bin", "facts.json")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Two corpora, in a folder of their own."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "more").mkdir()
    for number, path in enumerate((folder / "one.txt", folder / "more" / "two.txt")):
        path.write_text("\n\n".join(documents(120 - 60 * number, seed=number)))
    return CorpusSettings(
        corpus=[str(folder / "one.txt"), str(folder / "more")],
        validation_fraction=0.05,
        cache_dir=str(folder / "cache"),
    )


def prepare(corpora, tokenizer, folder, *, causal=False):
    """The text and the folder that it was stored in."""
    made_with = decoder_tokenizer(tokenizer) if causal else tokenizer
    text = pack_text(corpora, BlockSettings(sequence_length=LENGTH), made_with, seed=0, causal=causal)
    folder.mkdir()
    facts = prepared_facts(text, corpora, made_with, causal=causal)
    facts = write_prepared(folder, facts, rows_of(text), tokenizer)
    (folder / "README.md").write_text(blocks_card(facts, name="blocks"))
    return text, folder


def rows_of(text):
    return {"train": text.training.parts, "validation": text.validation.parts}


@pytest.fixture(scope="module")
def stored(corpora, wordpiece, tmp_path_factory):
    return prepare(corpora, wordpiece, tmp_path_factory.mktemp("stored") / "blocks")


@pytest.fixture
def copy(stored, tmp_path):
    """A folder of prepared blocks to damage."""
    return shutil.copytree(stored[1], tmp_path / "blocks")


def opened(folder, cache, *, causal=False, seed=0, **given):
    """The text as a recipe opens it, with the tokenizer that is in the folder."""
    settings = TextSettings(blocks=str(folder), cache_dir=str(cache), **given)
    corpora, cut = settled(settings, BlockSettings(), model=None, tokenizer="ours", causal=causal)
    tokenizer = load_tokenizer(cut.tokenizer)
    tokenizer = decoder_tokenizer(tokenizer) if causal else tokenizer
    return open_text(corpora, cut, tokenizer, seed=seed, causal=causal)


@pytest.mark.parametrize(("tokenizer", "causal"), [("wordpiece", False), ("bpe", True)])
def test_rows_come_back_byte_for_byte(request, corpora, tokenizer, causal, tmp_path):
    """For encoders and decoders: files, fingerprints, names, facts and order are those of the text."""
    text, folder = prepare(corpora, request.getfixturevalue(tokenizer), tmp_path / "blocks", causal=causal)
    again = opened(folder, tmp_path / "cache", causal=causal)
    assert again.fingerprint == text.fingerprint
    assert again.names == ("one.txt", "more/")
    parts = [(one, other) for split in ("training", "validation") for one, other in pairs(text, again, split)]
    assert len(parts) == 4
    for one, other in parts:
        assert one.folder != other.folder
        assert [(one.folder / name).read_bytes() for name in FILES] == [
            (other.folder / name).read_bytes() for name in FILES
        ]
    positions = np.arange(500)
    assert np.array_equal(text.order(positions), again.order(positions))


def pairs(text, again, split):
    return zip(getattr(text, split).parts, getattr(again, split).parts, strict=True)


def test_several_files_of_a_corpus(corpora, wordpiece, tmp_path, monkeypatch):
    """Rows that go into several files, and are written and read in several batches, are the same ones."""
    monkeypatch.setattr(block_shards, "SHARD_TOKENS", 100 * LENGTH)
    monkeypatch.setattr(block_shards, "BATCH_TOKENS", 30 * LENGTH)
    text, folder = prepare(corpora, wordpiece, tmp_path / "blocks")
    names = sorted(path.name for path in (folder / "data").glob("train-*"))
    assert len(names) > 4
    assert names[-1] == f"train-{len(names) - 1:05}-of-{len(names):05}.parquet"
    assert max(parquet.read_metadata(path).num_rows for path in folder.glob("data/*")) == 100
    again = opened(folder, tmp_path / "cache")
    for one, other in [*pairs(text, again, "training"), *pairs(text, again, "validation")]:
        assert (one.folder / "tokens.bin").read_bytes() == (other.folder / "tokens.bin").read_bytes()
        assert (one.folder / "marks.bin").read_bytes() == (other.folder / "marks.bin").read_bytes()
    assert prove_prepared(folder, rows_of(text), wordpiece).startswith("read back, the ")


def test_weights_of_corpora(corpora, wordpiece, stored, tmp_path):
    """They mix the rows as they mix those of the text, and have to be one for each."""
    weighted = replace(corpora, corpus_weights=[1.0, 3.0])
    text = pack_text(weighted, BlockSettings(sequence_length=LENGTH), wordpiece, seed=5)
    again = opened(stored[1], tmp_path / "cache", corpus_weights=[1.0, 3.0], seed=5)
    positions = np.arange(3000)
    assert np.array_equal(text.order(positions), again.order(positions))
    with pytest.raises(ConfigError, match=r"corpus_weights: expected one weight per corpus \(2\), found 3; give as"):
        opened(stored[1], tmp_path / "cache", corpus_weights=[1.0, 3.0, 1.0])


def test_text_packed_here_is_not_laid_out_twice(corpora, stored):
    """With the cache that the text was packed in, its files are taken."""
    again = opened(stored[1], corpora.cache_dir)
    for one, other in pairs(stored[0], again, "training"):
        assert one.folder == other.folder


def test_settings_are_those_of_the_blocks(stored):
    """A run's record and identity are told how the text was read; defaults of the recipe do not matter."""
    corpora, cut = settled(TextSettings(blocks=str(stored[1])), BlockSettings(), model=None, tokenizer="ours")
    assert corpora.corpus == ["one.txt", "more/"]
    assert corpora.validation_fraction == 0.05
    assert cut.sequence_length == LENGTH
    assert cut.tokenizer == str(stored[1] / "tokenizer")
    _, further = settled(TextSettings(blocks=str(stored[1])), BlockSettings(), model="a/model", tokenizer="ours")
    assert further.tokenizer == "a/model"
    _, plain = settled(TextSettings(), BlockSettings(), model=None, tokenizer="ours", causal=True)
    assert (plain.sequence_length, plain.tokenizer) == (256, "ours")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"corpus": ["mine.txt"]},
            r"--corpus: expected one\.txt, more/, with which the blocks .* were made, found mine",
        ),
        ({"validation_fraction": 0.2}, "--validation_fraction: expected 0.05, with which .*, found 0.2; leave it out"),
        (
            {"max_documents": 7},
            "--max_documents: expected None, .* found 7; leave it out beside --blocks, or train from",
        ),
        ({"validation_corpus": ["v.txt"]}, "--validation_corpus: expected None, .* found v.txt"),
    ],
)
def test_other_settings_of_the_text_are_refused(stored, given, words):
    """What the rows were not made with is no setting of theirs; the same once more is fine."""
    with pytest.raises(ConfigError, match=words):
        settled(TextSettings(blocks=str(stored[1]), **given), BlockSettings(), model=None, tokenizer="ours")
    same = TextSettings(blocks=str(stored[1]), validation_fraction=0.05)
    settled(same, BlockSettings(), model=None, tokenizer="ours")


def test_other_kinds_lengths_and_tokenizers_are_refused(stored, bpe):
    """Each with both values."""
    settings = TextSettings(blocks=str(stored[1]))
    with pytest.raises(
        DataError, match="expected rows framed for a decoder, found rows for an encoder; prepare the te"
    ):
        settled(settings, BlockSettings(), model=None, tokenizer="ours", causal=True)
    words = "expected rows of 64 tokens, as --sequence_length says, found rows of 32; leave --sequence_length out"
    with pytest.raises(DataError, match=words):
        settled(settings, BlockSettings(sequence_length=64), model=None, tokenizer="ours")
    settled(settings, BlockSettings(sequence_length=32), model=None, tokenizer="ours")
    with pytest.raises(DataError, match=r"tokenizer that they were made with \(hash \w{32}\), found .*\(hash \w{32}\)"):
        open_text(settings, BlockSettings(), bpe, seed=0)


def test_decoder_s_rows_are_not_an_encoder_s(corpora, bpe, tmp_path):
    """The other way round."""
    _, folder = prepare(corpora, bpe, tmp_path / "blocks", causal=True)
    with pytest.raises(DataError, match="expected rows framed for an encoder, found rows for a decoder"):
        opened(folder, tmp_path / "cache")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda folder: (folder / "blocks.json").unlink(),
            r"rows made by recipes/prepare\.py \(blocks\.json\), found n",
        ),
        (
            lambda folder: (folder / "blocks.json").write_text("{"),
            r"expected blocks\.json as .* writes it, found Expec",
        ),
        (lambda folder: change(folder, format=99), "found format 99, where this version of hfrep reads 3"),
        (lambda folder: change(folder, rows="both"), "found rows of 'both'"),
        (lambda folder: change(folder, settings={}), "found settings"),
        (lambda folder: change_part(folder, fingerprint="../../elsewhere"), r"found '\.\./\.\./elsewhere'"),
        (lambda folder: change_part(folder, files={"/etc/hosts": "0"}), "found '/etc/hosts'"),
        (
            lambda folder: train_file(folder).unlink(),
            r"expected data/train-00000-of-00002\.parquet with the SHA-256 .*such",
        ),
        (
            lambda folder: flip(train_file(folder)),
            r"of-00002\.parquet with the SHA-256 \w{12}…, found \w{12}; fetch or",
        ),
    ],
)
def test_damage_is_told(copy, tmp_path, damage, words):
    """What is missing or has other bytes is named, and nothing is left in the cache for the next run."""
    damage(copy)
    with pytest.raises(DataError, match=words):
        opened(copy, tmp_path / "cache")
    assert not [path for path in tmp_path.glob("cache/**/*") if path.is_file()]


def train_file(folder):
    return folder / "data" / "train-00000-of-00002.parquet"


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def change(folder, **facts):
    file = folder / "blocks.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def change_part(folder, **facts):
    splits = json.loads((folder / "blocks.json").read_text())["splits"]
    splits["train"][0] |= facts
    change(folder, splits=splits)


def test_fewer_rows_than_told(copy, tmp_path):
    """The number of rows is part of what is checked."""
    splits = json.loads((copy / "blocks.json").read_text())["splits"]
    told = splits["train"][0]["facts"]["rows"]
    splits["train"][0]["facts"]["rows"] += 1
    change(copy, splits=splits)
    with pytest.raises(DataError, match=f"expected {told + 1:,} rows of one.txt, found {told:,}"):
        opened(copy, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("some/where/else/blocks", "no folder some/where/else/blocks"),
        ("no-one/nothing", "no-one/nothing.*and the Hub out of reach"),
    ],
)
def test_blocks_that_are_not_there(name, error):
    """A path and a Hub id; offline."""
    with pytest.raises(HfrepError, match=error):
        PreparedBlocks.open(name)


def test_proof_fails_where_it_should(copy, stored, bpe, wordpiece):
    """Rows that differ in one token, too few of them, and another tokenizer."""
    text, _ = stored
    rows = rows_of(text)
    assert "the tokenizer is the same" in prove_prepared(copy, rows, wordpiece)
    with pytest.raises(ProofError, match="expected the saved tokenizer to give the same ids, found another one"):
        prove_prepared(copy, rows, bpe)
    table = parquet.read_table(train_file(copy))
    parquet.write_table(table.slice(0, len(table) - 1), train_file(copy))
    with pytest.raises(ProofError, match=rf"expected {len(table):,} rows of one\.txt, found {len(table) - 1:,}"):
        prove_prepared(copy, rows, wordpiece)
    parquet.write_table(table.take([1, 0, *range(2, len(table))]), train_file(copy))
    with pytest.raises(ProofError, match=r"rows of one\.txt to be read back as they are, found others"):
        prove_prepared(copy, rows, wordpiece)


def test_what_is_stored_names_no_folder_of_this_machine(stored, corpora):
    """Neither the facts nor the rows nor the card tell where the texts lay."""
    folder = stored[1]
    where = corpora.corpus[1].removesuffix("/more")
    for file in folder.rglob("*"):
        if file.is_file():
            assert where.encode() not in file.read_bytes(), file
    assert set(parquet.read_table(folder / "data")["corpus"].to_pylist()) == {"one.txt", "more/"}


def test_public_names(tmp_path):
    """Paths lose their folders and stay paths; names that are none stay as they are."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "a.txt").write_text("a")
    assert public_name(str(tmp_path / "texts")) == "texts/"
    assert public_name(f"{tmp_path}/texts/") == "texts/"
    assert public_name(str(tmp_path / "a.txt")) == "a.txt"
    assert [public_name(name) for name in (BUILT_IN, "org/name:config@v1")] == [BUILT_IN, "org/name:config@v1"]
    assert not any(on_hub(name) for name in ("texts/", "a.txt"))


def test_same_rows(stored):
    """Facts of the same rows agree whatever the files; those of other settings do not."""
    facts = PreparedFacts.read((stored[1] / "blocks.json").read_text())
    bare = {split: [replace(part, files={}) for part in parts] for split, parts in facts.splits.items()}
    assert facts.same_rows(replace(facts, splits=bare))
    assert not facts.same_rows(replace(facts, settings=dict(facts.settings) | {"max_documents": 3}))
    assert not facts.same_rows(replace(facts, tokenizer_hash="0"))


def test_card_is_one_the_hub_takes(stored):
    """Its header names splits, task, size, languages and license; its table counts what is there."""
    text, folder = stored
    facts = PreparedFacts.read((folder / "blocks.json").read_text())
    card = DatasetCard(blocks_card(facts, name="b", repository="me/b", language=["en"], license="mit"))
    data = card.data.to_dict()
    assert (data["language"], data["license"], data["task_categories"]) == (["en"], "mit", ["fill-mask"])
    assert data["size_categories"] == ["n<1K"] if len(text.training) + len(text.validation) < 1000 else ["1K<n<10K"]
    assert [part["split"] for part in data["configs"][0]["data_files"]] == ["train", "validation"]
    documents_told = text.training.parts[0].facts.documents
    assert re.search(
        rf"\| train \| one\.txt \| {documents_told} \| [\d,]+ \| [\d,]+ \| [\d,]+ \| 0\.\d\d% \|", card.text
    )
    assert facts.tokenizer_hash in card.text
    assert "`recipes/mlm.py` of hfrep trains" in card.text
    assert "recipes/clm.py" not in card.text, "which refuses rows for encoders"
    assert "`recipes/clm.py` of hfrep trains" in blocks_card(replace(facts, rows="decoder"), name="b")
