"""What the tokenizer decides in a model: how many tokens it knows, and the ids of the special ones.

Embeddings often have more rows than the tokenizer has tokens: a multiple of 64 suits the hardware, and publishers
leave room (Qwen3: 151,936 rows for 151,669 tokens). So stored weights fit a tokenizer that has no more tokens than they
have rows, and fewer by at most 63 or a 200th of the rows, whichever is more. Any other size is another tokenizer's, for
which the rows of the embeddings are vectors of other words: that is refused unless resizing is asked for.
"""

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfrep.errors import ConfigError
from hfrep.models.isolation import first_position, is_causal

VOCABULARY_STEP = 64  # embedding rows; matrix kernels like multiples
SPARE_SHARE = 200  # one row in so many may be spare
SPECIAL_TOKENS = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")


def rows_for(tokenizer: PreTrainedTokenizerBase) -> int:
    """Embedding rows of a fresh model: the tokens, up to a multiple of `VOCABULARY_STEP`."""
    return -(-len(tokenizer) // VOCABULARY_STEP) * VOCABULARY_STEP


def special_token_ids(
    tokenizer: PreTrainedTokenizerBase, model_type: str, config: PreTrainedConfig | None = None
) -> dict[str, int | None]:
    """``pad_token_id`` and so on, as a configuration names them.

    A decoder begins a document with the bos token and ends it with the eos token; a tokenizer that was made for
    encoders has cls and sep in their place.

    Raises:
        ConfigError: a decoder could not learn to end, for want of an end token or of a pad token that is another.
    """
    ids: dict[str, int | None] = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in SPECIAL_TOKENS}
    if not is_causal(model_type, config):
        return ids
    for name, stand_in in (("bos_token_id", "cls_token_id"), ("eos_token_id", "sep_token_id")):
        if ids[name] is None:
            ids[name] = ids[stand_in]
    end, pad = ids["eos_token_id"], ids["pad_token_id"]
    if end is None or pad is None or pad == end:
        no_end = "no token that ends a document"
        raise ConfigError(
            where=f"tokenizer {tokenizer.name_or_path}".rstrip(),
            expected="an eos (or sep) token and a pad token of its own, so that a decoder learns to end",
            found=no_end
            if end is None
            else f"the pad token {tokenizer.pad_token!r}, which also ends a document"
            if pad == end
            else "no pad token",
            do="add one with add_special_tokens and save it",
        )
    return ids


def fit_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, resize: bool) -> None:
    """Check that the stored `model`, called `name`, is one for `tokenizer`; with `resize`, make it one where it is not.

    Resizing keeps the rows of the ids that stay. New ones are drawn close to the mean of the old ones, so that no new
    token is more likely than the others are (Hewitt 2021, "Initializing new word embeddings for pretrained language
    models").

    Raises:
        ConfigError: the sizes differ by more than spare rows, or pad ids that fix positions differ.
    """
    rows, tokens = int(model.config.vocab_size), len(tokenizer)
    spare = max(VOCABULARY_STEP - 1, rows // SPARE_SHARE)
    if tokens <= rows <= tokens + spare:
        return
    if not resize:
        raise ConfigError(
            where="the tokenizer",
            expected=f"one for the {rows:,} rows that the embeddings of {name} have (up to {spare} may be spare)",
            found=f"{tokens:,} tokens",
            do="give the tokenizer the model was made with, or --resize_embeddings",
        )
    _check_positions(model.config, tokenizer, name)
    embeddings = model.get_input_embeddings()
    padded = embeddings.padding_idx is not None
    model.resize_token_embeddings(tokens, pad_to_multiple_of=VOCABULARY_STEP)
    ids = special_token_ids(tokenizer, model.config.model_type, model.config)
    for part in (model.config, getattr(model, "generation_config", None)):
        for field, token in ids.items():
            if hasattr(part, field):
                setattr(part, field, token)
    if padded:  # the row of this id gets no gradient
        model.get_input_embeddings().padding_idx = tokenizer.pad_token_id


def _check_positions(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Where positions count from the pad id, another one would shift them against the stored table."""
    if first_position(config) and config.pad_token_id != tokenizer.pad_token_id:
        raise ConfigError(
            where="--resize_embeddings",
            expected=f"a tokenizer with the pad id of {name}, {config.pad_token_id}, from which its positions count",
            found=str(tokenizer.pad_token_id),
            do="give such a tokenizer, or start from fresh weights",
        )
