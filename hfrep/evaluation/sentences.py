"""Sentences as a language model reads them: framed, each different one once, in batches of bounded size.

Sentences that come out as the same tokens are scored once and share that score, so that they tie exactly: scored in two
batches, they would differ in the last bits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.batches import rows_of_like_length
from hfrep.data.order import Integers
from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.models.isolation import RowInputs, longest_document
from hfrep.models.sparse_head import SparseHead

BATCH_TOKENS = 2048  # padding included
FRAME = -1  # word number of a token that is not the sentence's


class Scored(NamedTuple):
    """Of n tokens: log-probabilities in nats, float64 [n], and whether each is the likeliest where it stands, bool."""

    nats: NDArray[np.float64]
    best: NDArray[np.bool_]


# Padded rows, their segments, and the row, column and id of each token to score.
TokenScores = Callable[[Integers, Integers, Integers, Integers, Integers], Scored]


@dataclass(frozen=True)
class Scores:
    """Totals of n sentences; to compare by the token or the character, divide.

    Attributes:
        nats: float64 [n], sum of the log-probabilities of a sentence's tokens.
        tokens: int64 [n], how many tokens that sum is over.
    """

    nats: NDArray[np.float64]
    tokens: Integers


@dataclass(frozen=True)
class Sentences:
    """m different sentences laid end to end, the shortest first, with their frame.

    Attributes:
        ids: int64 [t], tokens of all sentences.
        words: int64 [t], number of the word within its sentence, as the tokenizer's ``word_ids`` count; `FRAME` for
            the begin and end tokens.
        lengths: int64 [m], tokens of each, its frame included.
        given: int64 [n], which of the m each of the n given sentences is.
    """

    ids: Integers
    words: Integers
    lengths: Integers
    given: Integers

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, begin: Sequence[int], end: Sequence[int]
    ) -> "Sentences":
        """Tokenize `texts` and put the tokens `begin` before and `end` behind each.

        What the tokenizer's own post-processor would add is left off, and special tokens that a text spells out stay
        text.
        """
        encoded = [
            (tuple(one.ids), tuple(word for word in one.word_ids if word is not None))  # only special tokens have none
            for one in encode_documents(tokenizer, texts)
        ]
        different = sorted(dict.fromkeys(encoded), key=lambda sentence: len(sentence[0]))  # stable, hence repeatable
        number = {sentence: place for place, sentence in enumerate(different)}
        before, behind = [FRAME] * len(begin), [FRAME] * len(end)
        return cls(
            ids=_flat([*begin, *ids, *end] for ids, _ in different),
            words=_flat([*before, *words, *behind] for _, words in different),
            lengths=np.array([len(begin) + len(ids) + len(end) for ids, _ in different], np.int64),
            given=np.array([number[sentence] for sentence in encoded], np.int64),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, numbers: Integers, pad: int) -> tuple[Integers, Integers, Integers]:
        """Token ids, words and segments of the sentences `numbers` [b], each int64 [b, L] and padded on the right.

        Segments are 1 where there is a token and 0 where there is padding.
        """
        lengths = self.lengths[numbers]
        offsets = np.arange(lengths.max())
        inside = offsets < lengths[:, None]
        places = np.where(inside, (np.cumsum(self.lengths) - self.lengths)[numbers][:, None] + offsets, 0)
        ids, words = np.where(inside, self.ids[places], pad), np.where(inside, self.words[places], FRAME)
        return ids, words, inside.astype(np.int64)

    def content(self) -> tuple[Integers, Integers]:
        """Sentence and position in it of each token outside the frames; int64 [c] each, sentence after sentence."""
        owners = np.repeat(np.arange(len(self)), self.lengths)
        positions = np.arange(len(self.ids)) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        inside = self.words != FRAME
        return owners[inside], positions[inside]

    def scores(self, owners: Integers, nats: NDArray[np.float64]) -> Scores:
        """Sums per given sentence of the log-probabilities `nats` [p] of tokens of the sentences `owners` [p]."""
        totals = np.bincount(owners, weights=nats, minlength=len(self)).astype(np.float64)
        tokens = np.bincount(owners, minlength=len(self))
        return Scores(totals[self.given], tokens[self.given])

    def require_room(self, model: PreTrainedModel) -> None:
        """Refuse sentences that are longer than what `model` has positions for.

        Raises:
            DataError: there is one, with its number among the given ones.
        """
        room = longest_document(model.config)
        if room is not None and len(self) > 0 and self.lengths[-1] > room:
            number = int(np.argmax(self.lengths[self.given] > room)) + 1
            raise DataError(
                where=f"sentence {number}",
                expected=f"at most the {room} tokens, special ones included, that the model has positions for",
                found=f"{self.lengths[self.given[number - 1]]}",
                do="shorten it or leave it out",
            )


def batches(lengths: Integers, batch_tokens: int) -> Iterator[Integers]:
    """Rows of like `lengths` [r] that take at most `batch_tokens` when padded, with a bar; always at least one row."""
    # No bar where the output is not a terminal.
    with tqdm(total=len(lengths), desc="scoring", leave=False, disable=None) as bar:
        for rows in rows_of_like_length(lengths, batch_tokens):
            yield rows
            bar.update(len(rows))


@contextmanager
def token_scores(model: PreTrainedModel) -> Iterator[TokenScores]:
    """What scores tokens with `model`, which is put into eval mode.

    It takes ``ids`` and ``segments`` int64 [b, L], then ``rows``, ``columns`` and ``targets`` int64 [n]: where the
    class gives its scores, and the token whose probability is asked for there. The softmax is over the whole vocabulary
    of the model, in float32.
    """
    row_inputs = RowInputs.of(model.eval(), "join")

    def score(ids: Integers, segments: Integers, rows: Integers, columns: Integers, targets: Integers) -> Scored:
        arrays = (ids, segments, rows * ids.shape[1] + columns, targets)
        tokens, inside, positions, wanted = (torch.from_numpy(array).to(model.device) for array in arrays)
        logits = head.logits(positions, input_ids=tokens, **row_inputs(inside)).float()
        nats = -F.cross_entropy(logits, wanted, reduction="none").cpu().double().numpy()
        return Scored(nats, (logits.argmax(-1) == wanted).cpu().numpy())

    with torch.inference_mode(), closing(SparseHead(model)) as head:
        yield score


def _flat(sentences: Iterator[list[int]]) -> Integers:
    return np.fromiter((number for sentence in sentences for number in sentence), np.int64)
