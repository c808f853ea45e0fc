"""Texts with an answer in them as tokens, of which those that touch the answer are scored.

Text and answer are tokenized together, as they would be read: the answer's tokens are those from the first that touches
it, or the blank before it. A tool that tokenizes the context alone and takes what comes behind as many tokens is wrong
where a token reaches over the boundary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.models.language_model import context_length, is_masked

AT_ONCE = 4096  # texts that are tokenized together: long prompts would else all lie in memory with their offsets

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Encoded:
    """A text with an answer, as the model is given it.

    Attributes:
        ids: with the special tokens around it.
        first, end: the answer's tokens are ``ids[first:end]``.
    """

    ids: Tokens
    first: int
    end: int


@dataclass(frozen=True)
class Question:
    """An item as tokens.

    Attributes:
        group: items of one group begin alike, with the same demonstrations.
        answers: the text with each of the choices.
        dropped: demonstrations that did not fit and were left out.
        cut: tokens of the item that did not fit, from its beginning.
    """

    group: int
    answers: tuple[Encoded, ...]
    dropped: int = 0
    cut: int = 0


@dataclass(frozen=True)
class PromptTokenizer:
    """Tokenizes for one model.

    Attributes:
        room: tokens, special ones included, that the model takes at once.
        masked: it is for a model that fills in masks, from both sides.
        writes: tokens of the room that are kept for what the model writes by itself, which is then given what stands
            before the answer and no more; 0 where answers are scored.
    """

    tokenizer: PreTrainedTokenizerFast
    room: int
    masked: bool
    writes: int = 0

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> "PromptTokenizer":
        return cls(tokenizer, context_length(model, tokenizer), is_masked(model))

    @cached_property
    def frame(self) -> tuple[Tokens, Tokens]:
        """Special tokens that the tokenizer puts before a text and behind it.

        Behind it a decoder gets none: a tokenizer made for encoders would end the text there.
        """
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()  # which would look like special tokens
        made = backend.encode("a")
        inside = np.flatnonzero(np.array(made.special_tokens_mask) == 0)
        begin, end = tuple(made.ids[: inside[0]]), tuple(made.ids[inside[-1] + 1 :])
        return begin, end if self.masked else ()

    def __call__(self, asked: Sequence[Asked]) -> Iterator[tuple[Encoded, ...]]:
        """Each of `asked` with each of its choices, or where they are written, without any.

        Raises:
            DataError: an answer that no token touches.
        """
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            if self.writes:
                yield from self._contexts(part)
                continue
            texts = [one.filled(choice) for one in part for choice in range(len(one.choices))]
            encodings = iter(encode_documents(self.tokenizer, texts))
            for one in part:
                yield tuple(self._encoded(one, choice, next(encodings)) for choice in range(len(one.choices)))

    def with_room_for(self, tokens: int) -> "PromptTokenizer":
        """The same for answers of so many `tokens` that the model writes."""
        return replace(self, writes=tokens)

    def excess(self, answers: Sequence[Encoded]) -> int:
        """Tokens that the longest of `answers` has more than there is room for; 0 or less where it fits."""
        return max(map(self.length, answers)) + self.writes - self.room

    def length(self, encoded: Encoded) -> int:
        """Tokens that the model is given for it: a decoder not the last one, behind which nothing is predicted."""
        return len(encoded.ids) - (not self.masked)

    @cached_property
    def begin(self) -> Tokens:
        """What stands for a context where there is none and the tokenizer begins no text by itself.

        Raises:
            DataError: the tokenizer has nothing for it.
        """
        return (decoder_tokenizer(self.tokenizer).bos_token_id,)

    def _contexts(self, asked: Sequence[Asked]) -> Iterator[tuple[Encoded, ...]]:
        begin = self.frame[0]
        for encoding in encode_documents(self.tokenizer, [one.before.rstrip() for one in asked]):
            ids = (*begin, *encoding.ids) or self.begin
            yield (Encoded(ids, len(ids), len(ids)),)

    def _encoded(self, asked: Asked, choice: int, encoding: Any) -> Encoded:
        begins, ends = len(asked.before.rstrip()), len(asked.before) + len(asked.choices[choice])
        first, last = self._touching(encoding, begins, ends)
        if first == last:
            raise DataError(
                where="the prompt",
                expected="answers of which the tokenizer keeps something",
                found=repr(asked.choices[choice]),
                do="say it in other words, or give another tokenizer",
            )
        begin, end = self.frame
        if first == 0 and not begin and not self.masked:  # something must stand before the first token that is scored
            begin = self.begin
        return Encoded((*begin, *encoding.ids, *end), first + len(begin), last + len(begin))

    def _touching(self, encoding: Any, begins: int, ends: int) -> tuple[int, int]:
        """First token that touches the characters from `begins` to `ends`, and the one behind the last."""
        if not self.masked:  # nothing stands behind the answer; and to have all offsets of a long prompt takes long
            length = len(encoding.ids)
            touched = (encoding.char_to_token(place) for place in range(begins, ends))
            first = next((token for token in touched if token is not None), length)
            # A blank that is a token by itself has no characters where a tokenizer trims blanks off its offsets.
            while 0 < first < length and encoding.token_to_chars(first - 1)[1] > begins:
                first -= 1
            return first, length
        touching = [at for at, (start, end) in enumerate(encoding.offsets) if end > begins and start < ends]
        return (touching[0], touching[-1] + 1) if touching else (0, 0)
