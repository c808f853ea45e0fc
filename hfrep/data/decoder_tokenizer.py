"""A tokenizer as a decoder wants it: the begin token before a text, and nothing behind it.

Tokenizers made for encoders end each text (``<s> … </s>``). A decoder that is given such a prompt sees a document that
is over, and what it writes then has nothing to do with the prompt. In training the end token stands where documents
truly end, which the rows see to (`hfrep.data.blocks`).
"""

import copy

from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from hfrep.errors import DataError


def decoder_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy of `tokenizer` for a decoder: begin token first, none at the end, batches padded on the left.

    Of a pair, the end token ends the first text, so that a model that is adapted to pairs can tell the two apart.

    A tokenizer that has cls and sep tokens only begins documents with the first and ends them with the second; one that
    has only an end token begins them with it too, as GPT-2's does. One without a pad token pads with the end token,
    which is right for who masks padding out; training refuses it (`hfrep.data.tokenizer.load_tokenizer`).

    Raises:
        DataError: it has no token to end a document with.
    """
    end = tokenizer.eos_token or tokenizer.sep_token
    if end is None:
        raise DataError(
            where=f"tokenizer {tokenizer.name_or_path}",
            expected="an eos (or sep) token, which ends a document",
            found="none",
            do="add one with add_special_tokens and save it",
        )
    begin = tokenizer.bos_token or tokenizer.cls_token or end
    made = copy.deepcopy(tokenizer)
    made.bos_token, made.eos_token, made.padding_side = begin, end, "left"
    if made.pad_token is None:
        made.pad_token = end
    made.model_input_names = ["input_ids", "attention_mask"]  # GPT-2 would add word vectors for token types
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="begin $A",
        pair="begin $A end $B",
        special_tokens=[
            {"id": "begin", "ids": [made.bos_token_id], "tokens": [begin]},
            {"id": "end", "ids": [made.eos_token_id], "tokens": [end]},
        ],
    )
    return made
