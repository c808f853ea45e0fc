"""The card of a tokenizer that stands on the Hub by itself."""

from collections.abc import Sequence

from huggingface_hub import ModelCardData
from transformers import PreTrainedTokenizerFast

from hfrep.card.markdown import fenced
from hfrep.data.tokenizer import tokenizer_hash


def tokenizer_card(
    tokenizer: PreTrainedTokenizerFast,
    repository: str,
    *,
    language: Sequence[str] | None = None,
    license: str | None = None,
) -> str:
    """The text of ``README.md`` for `repository` (``org/name``).

    Args:
        language, license: what only the user can tell, see `hfrep.hub.staging.About`.
    """
    data = ModelCardData(
        library_name="transformers",
        language=list(language) if language else None,
        license=license,
        tags=["hfrep", "tokenizer"],
    )
    algorithm = type(tokenizer.backend_tokenizer.model).__name__
    special = ", ".join(f"`{token}` {number}" for token, number in _special(tokenizer))
    snippet = (
        "from transformers import AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{repository}")\n'
        'print(tokenizer.tokenize("a few words"))'
    )
    parts = [
        f"---\n{data.to_yaml(original_order=['library_name', 'language', 'license', 'tags'])}\n---",
        f"# {repository.rpartition('/')[2]}",
        f"A {algorithm} tokenizer of {len(tokenizer):,} tokens, trained with hfrep.",
        fenced(snippet, "python"),
        f"- special tokens: {special}\n- hash: `{tokenizer_hash(tokenizer)}`",
    ]
    return "\n\n".join(parts) + "\n"


def _special(tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, int]]:
    """Special tokens and their ids, by these."""
    ids = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return sorted(ids, key=lambda token: token[1])
