"""Documents → rows: nothing dropped, boundaries kept, memory flat."""

import subprocess
import sys

import numpy as np
import pytest
import tiny
from conftest import documents
from transformers import PreTrainedTokenizerFast

from hfrep.data.blocks import BlockSettings, Frame, build_blocks
from hfrep.data.corpus import Corpus
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.rows import Concatenated
from hfrep.data.tokenizer import encode_documents
from hfrep.errors import ConfigError, DataError


@pytest.fixture(params=["wordpiece", "bpe"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def all_rows(blocks):
    return blocks.take(np.arange(len(blocks)))


def framed(tokenizer):
    return tokenizer.cls_token_id, tokenizer.sep_token_id


def test_tokens_in_are_tokens_out(tokenizer, tmp_path):
    """Read back without frames and padding, the rows hold every token of every document, in order."""
    texts = [*documents(50), "x", "", "word " * 500]
    blocks = tiny.blocks(texts, tokenizer, tmp_path)
    tokens = all_rows(blocks)["input_ids"]
    content = tokens[~np.isin(tokens, [*framed(tokenizer), tokenizer.pad_token_id])]
    expected = [token for encoding in encode_documents(tokenizer, texts) for token in encoding.ids]
    assert content.tolist() == expected
    assert blocks.facts.content_tokens == len(expected)


def test_segments_are_framed_and_hold_one_document(tokenizer, tmp_path):
    """Each segment is begin, tokens of one document, end; documents of one letter each cannot mix."""
    texts = [
        letter * 3 + " " + f"{letter} " * length for letter, length in zip("abcdefgh", range(3, 80, 9), strict=False)
    ]
    blocks = tiny.blocks(texts, tokenizer, tmp_path)
    rows = all_rows(blocks)
    for tokens, segments in zip(rows["input_ids"], rows["segments"], strict=True):
        assert (segments[tokens == tokenizer.pad_token_id] == 0).all()
        for number in range(1, segments.max() + 1):
            segment = tokens[segments == number]
            assert (segment[0], segment[-1]) == framed(tokenizer)
            assert len(set(tokenizer.decode(segment[1:-1]).replace(" ", ""))) == 1


def test_word_starts_are_the_pre_tokenizers(tokenizer, tmp_path):
    """The first token of each word is marked, for byte-level BPE too, where no blank need stand before a word (D6)."""
    text = "don't stop, well-known unbelievable words."
    blocks = tiny.blocks([text, text], tokenizer, tmp_path)
    row = {name: values[0] for name, values in all_rows(blocks).items()}
    first = row["segments"] == 1
    starts = row["word_starts"][first][1:-1]
    words = encode_documents(tokenizer, [text])[0].word_ids
    assert starts.tolist() == [True, *(words[i] != words[i - 1] for i in range(1, len(words)))][: len(starts)]


def test_special_tokens_in_a_text_stay_text(tokenizer, tmp_path):
    """A document that says "[MASK]" or "<s>" gives no special token."""
    texts = ["the [MASK] and <mask> and <s> and [SEP] </s> in a text"] * 4
    tokens = all_rows(tiny.blocks(texts, tokenizer, tmp_path))["input_ids"]
    assert not np.isin(tokens, [tokenizer.mask_token_id]).any()
    assert (tokens == framed(tokenizer)[0]).sum() == (tokens == framed(tokenizer)[1]).sum()


def test_padding_is_under_one_percent(wordpiece, tmp_path):
    """Short documents fill the rows too."""
    blocks = build_blocks(Corpus("short", "short", lambda: iter(documents(2000))), wordpiece, 128, tmp_path)
    tokens = all_rows(blocks)["input_ids"]
    assert (tokens == wordpiece.pad_token_id).mean() == pytest.approx(blocks.facts.padding_share)
    assert blocks.facts.padding_share < 0.01


def test_blocks_are_made_once(wordpiece, tmp_path):
    """The second call reads no document; another length or corpus is another folder."""
    calls = []

    def counted():
        calls.append(1)
        return iter(documents(20))

    corpus = Corpus("counted", "counted", counted)
    first, second = (build_blocks(corpus, wordpiece, 32, tmp_path) for _ in range(2))
    other = build_blocks(corpus, wordpiece, 64, tmp_path)
    assert len(calls) == 2
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_corpora_follow_each_other(wordpiece, tmp_path):
    """Rows of two corpora are numbered through, and a mixed request keeps its order."""
    one, two = (tiny.blocks(documents(10, seed), wordpiece, tmp_path) for seed in (1, 2))
    both = Concatenated([one, two])
    wanted = np.array([len(one) + 1, 0, len(one) - 1, len(one)])
    expected = np.stack([two.take(np.array([1]))["input_ids"][0], one.take(np.array([0]))["input_ids"][0]])
    assert np.array_equal(both.take(wanted)["input_ids"][:2], expected)
    assert len(both) == len(one) + len(two)


def test_a_corpus_without_text_is_refused(wordpiece, tmp_path):
    """The message names the corpus."""
    with pytest.raises(DataError, match="tiny: expected text for at least one row, found no document"):
        tiny.blocks(["", " "], wordpiece, tmp_path)


@pytest.mark.parametrize("length", [0, -5, 9])
def test_rows_too_short_for_a_segment_are_refused(length):
    """Zero, negative and useless lengths are told."""
    with pytest.raises(ConfigError, match=f"sequence_length: expected at least 10 tokens, found {length}"):
        BlockSettings(sequence_length=length)


MEMORY = """
import resource, sys
from pathlib import Path
from conftest import documents
from hfrep.data.blocks import build_blocks
from hfrep.data.corpus import Corpus
from hfrep.data.tokenizer import load_tokenizer
some = documents(2000)
tokenizer = load_tokenizer(sys.argv[1])
peaks = []
for times in (1, 8):
    corpus = Corpus("many", str(times), lambda: (text for _ in range(times) for text in some))
    build_blocks(corpus, tokenizer, 128, Path(sys.argv[2]))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(*peaks)
"""


def test_memory_does_not_grow_with_the_corpus(tokenizer_folder, tmp_path):
    """Eight times the text takes no more memory than batches in flight: under 60 MB more at the peak."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tokenizer_folder), str(tmp_path)],
        cwd="tests",
        capture_output=True,
        text=True,
        check=True,
    )
    small, large = map(float, run.stdout.split())
    assert large - small < 60


@pytest.fixture
def decoder(tokenizer):
    return decoder_tokenizer(tokenizer)


def test_a_decoder_s_documents_end_once(tokenizer, decoder, tmp_path):
    """Every segment begins with the begin token; the end token stands behind each document, and nowhere else."""
    texts = [*documents(40), "", "word " * 500, "x"]
    rows = all_rows(tiny.blocks(texts, tokenizer, tmp_path, causal=True))
    begin, end = decoder.bos_token_id, decoder.eos_token_id
    tokens, segments = rows["input_ids"], rows["segments"]
    starts = np.diff(segments, axis=1, prepend=0) > 0
    assert np.array_equal(tokens == begin, starts)
    stream = tokens[(segments > 0) & (tokens != begin)]
    expected = [encoding.ids for encoding in encode_documents(tokenizer, texts) if encoding.ids]
    assert stream.tolist() == [token for ids in expected for token in [*ids, end]]


def test_an_end_is_never_alone(tokenizer, decoder, tmp_path):
    """Documents of every length around a row's: no segment is an end token without a word before it."""
    for words in range(tiny.LENGTH - 6, tiny.LENGTH + 6):
        rows = all_rows(tiny.blocks(["a " * words] * 9, tokenizer, tmp_path, causal=True))
        tokens, segments = rows["input_ids"], rows["segments"]
        ends = np.argwhere(tokens == decoder.eos_token_id)
        assert len(ends) == 9
        assert all(tokens[row, place - 1] != decoder.bos_token_id for row, place in ends)
        assert ((tokens == decoder.pad_token_id) == (segments == 0)).all()


def test_facts_of_a_decoder_s_rows(tokenizer, tmp_path):
    """Bytes are those of the text in UTF-8; content tokens are the documents' own and their ends."""
    texts = [*documents(20), "naïve café", ""]
    facts = tiny.blocks(texts, tokenizer, tmp_path, causal=True).facts
    assert facts.bytes == sum(len(text.encode()) for text in texts)
    assert facts.content_tokens == sum(len(encoding) for encoding in encode_documents(tokenizer, texts)) + 21
    assert facts.padding_share < 0.05


def test_a_frame_needs_its_tokens(bpe):
    """What is missing is named, for an encoder's rows and for a decoder's."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, pad_token="<pad>")
    with pytest.raises(DataError, match="cls, sep, pad tokens, which frame the rows of an encoder, found no cls"):
        Frame.of(bare, causal=False)
    with pytest.raises(DataError, match="which frame the rows of a decoder, found no bos and no eos token"):
        Frame.of(bare, causal=True)
