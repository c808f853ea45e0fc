"""A decoder's tokenizer: it begins texts, does not end them, and comes back from disk as it was."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import encode_documents, tokenizer_hash
from hfrep.errors import DataError

TEXT = "the old house"


@pytest.mark.parametrize("name", ["bpe", "wordpiece"])
def test_a_prompt_is_not_over(name, request, tmp_path):
    """Begin token first and no end token, also after saving; the tokenizer it was made from is left as it was."""
    before = request.getfixturevalue(name)
    made = decoder_tokenizer(before)
    made.save_pretrained(tmp_path)
    content = encode_documents(before, [TEXT])[0].ids
    for tokenizer in (made, AutoTokenizer.from_pretrained(tmp_path)):
        assert tokenizer(TEXT)["input_ids"] == [tokenizer.bos_token_id, *content]
        assert "token_type_ids" not in tokenizer(TEXT)
        padded = tokenizer([TEXT, "a"], padding=True)["attention_mask"]
        assert padded[1][0] == 0
        assert padded[1][-1] == 1
        assert tokenizer_hash(tokenizer) == tokenizer_hash(made) != tokenizer_hash(before)
    assert before(TEXT)["input_ids"] == [before.cls_token_id, *content, before.sep_token_id]


def test_without_pad_it_pads_with_the_end(bpe):
    """As GPT-2's own, which is only read with, not trained."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, bos_token="<s>", eos_token="</s>")
    assert decoder_tokenizer(bare).pad_token == "</s>"


@pytest.mark.parametrize("token", ["<s:0>", "<|a b|>"])
def test_one_end_token_begins_too(token, bpe):
    """As in GPT-2; whatever signs its name is made of."""
    named = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer, eos_token=token)
    made = decoder_tokenizer(named)
    assert made(TEXT)["input_ids"][0] == made.eos_token_id == made.bos_token_id


def test_no_way_to_end_is_told(bpe):
    """What is missing, and what to do."""
    bare = PreTrainedTokenizerFast(tokenizer_object=bpe.backend_tokenizer)
    with pytest.raises(DataError, match=r"an eos \(or sep\) token, which ends a document, found none; add one"):
        decoder_tokenizer(bare)


def test_a_pair_is_told_apart(bpe):
    """The first text of a pair is ended, the second is not."""
    made = decoder_tokenizer(bpe)
    first, second = (made(text)["input_ids"] for text in ("the house", "the boat"))
    assert made("the house", "the boat")["input_ids"] == [*first, made.eos_token_id, *second[1:]]
