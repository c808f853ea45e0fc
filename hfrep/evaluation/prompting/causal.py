"""Answers scored by a causal language model, which reads what they share once.

Questions of a group begin with the same demonstrations: these go through the model once, and their keys and values are
given to every batch. The choices of a question share all that stands before them: a row holds it once, then the tokens
of each choice as branches that do not see each other (a token tree, as in Miao et al. 2023, "SpecInfer",
arXiv:2305.09781). So with answers of one token a question costs its own tokens, whatever the number of demonstrations
and choices.

Not every class can do this right. So the first questions are scored the plain way too, each text whole by itself; where
the two differ, all are scored that way.
"""

import inspect
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from hfrep.data.order import Integers
from hfrep.evaluation.continuations import score_continuations
from hfrep.evaluation.prompting.answers import Answers, Found
from hfrep.evaluation.prompting.encoding import Encoded, Question, Tokens
from hfrep.evaluation.prompting.sharing import shared
from hfrep.evaluation.sentences import BATCH_TOKENS, batches
from hfrep.models.isolation import RowInputs, admit_row_masks
from hfrep.models.sparse_head import SparseHead

TRIED = 8  # questions that are scored both ways
WORTHWHILE = 8  # tokens that a group must share for them to be kept
TOLERANCE = 1e-4  # nats, of a sum of one nat or less; of a larger one this share


class _Branches(NamedTuple):
    """A question as a row: what its answers share behind what the group shares, then what is left of each."""

    common: Tokens
    rests: tuple[Tokens, ...]
    answers: tuple[Encoded, ...]

    @classmethod
    def of(cls, answers: tuple[Encoded, ...], before: int) -> "_Branches":
        """`answers` without the first `before` tokens of each."""
        fed = [answer.ids[:-1] for answer in answers]  # behind the last token nothing is predicted
        end = _common(min(fed), max(fed))
        return cls(fed[0][before:end], tuple(ids[end:] for ids in fed), answers)

    @property
    def length(self) -> int:
        return len(self.common) + sum(map(len, self.rests))


class CausalScorer:
    """Scores questions with one causal `model`, which is put into eval mode.

    Args:
        batch_tokens: tokens, padding included, that go through the model at once.

    Attributes:
        branches: whether the class can share what texts have in common; None until it was tried.
    """

    def __init__(self, model: PreTrainedModel, accelerator: Accelerator, *, batch_tokens: int = BATCH_TOKENS) -> None:
        self._model, self._accelerator, self._batch_tokens = model.eval(), accelerator, batch_tokens
        self._inputs = RowInputs.of(model, "join")
        self._caches = "past_key_values" in inspect.signature(model.base_model.forward).parameters
        self.branches: bool | None = None
        admit_row_masks(model)

    def __call__(self, questions: Sequence[Question]) -> Answers:
        """How likely each answer is, on every process; each different question is asked once, on one of them."""
        different = {question.answers: question.group for question in questions}
        if self.branches is None:
            self.branches = self._agrees(list(different)[:TRIED])
        if self.branches:
            found = shared(list(different.items()), self._accelerator, self._branching)
        else:
            answers = list(dict.fromkeys(answer for question in different for answer in question))
            found = shared(answers, self._accelerator, self._plain)
        return Answers.of(questions, found)

    def _agrees(self, tried: Sequence[tuple[Encoded, ...]]) -> bool:
        """Whether questions come out alike both ways, with half of what the answers of each share kept from before."""
        plain = self._plain([answer for answers in tried for answer in answers])
        branching: dict[Encoded, Found] = {}
        try:
            with torch.inference_mode(), closing(SparseHead(self._model)) as head:
                for answers in tried:
                    branching |= self._score(head, [answers], self._shared(answers) // 2)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, RuntimeError, IndexError):  # a class that takes no such masks or caches
            return False
        return all(
            abs(branching[answer][0] - nats) <= TOLERANCE * max(1.0, abs(nats)) for answer, (nats, _) in plain.items()
        )

    def _plain(self, answers: Sequence[Encoded]) -> dict[Encoded, Found]:
        """Each text whole, by itself."""
        scores = score_continuations(
            self._model,
            [answer.ids for answer in answers],
            [answer.end - answer.first for answer in answers],
            batch_tokens=self._batch_tokens,
        )
        return dict(zip(answers, zip(scores.nats.tolist(), scores.greedy.tolist(), strict=True), strict=True))

    def _branching(self, questions: Sequence[tuple[tuple[Encoded, ...], int]]) -> dict[Encoded, Found]:
        by_group: dict[int, list[tuple[Encoded, ...]]] = {}
        for answers, number in questions:
            by_group.setdefault(number, []).append(answers)
        found: dict[Encoded, Found] = {}
        alone: list[tuple[Encoded, ...]] = []  # of all groups that have nothing to keep, for fuller batches
        with torch.inference_mode(), closing(SparseHead(self._model)) as head:
            for group in by_group.values():
                before = self._shared(answer for answers in group for answer in answers) if len(group) > 1 else 0
                if before < WORTHWHILE:
                    alone += group
                else:
                    found |= self._score(head, group, before)
            return found | self._score(head, alone, 0)

    def _shared(self, answers: Iterable[Encoded]) -> int:
        """How many tokens all `answers` begin with, of those behind which none of them is scored yet."""
        if not self._caches:
            return 0
        texts, firsts = zip(*((answer.ids, answer.first) for answer in answers), strict=True)
        return min(_common(min(texts), max(texts)), int(min(firsts)) - 1)

    def _keys_and_values(self, tokens: Tokens) -> Cache:
        """What the layers keep of `tokens`, to be seen by every row of any batch."""
        cache = Cache(layer_class_to_replicate=DynamicLayer)  # of all positions, whatever windows the config tells
        ids = torch.tensor([tokens], device=self._model.device)
        depths = torch.arange(len(tokens), device=self._model.device)[None]
        inputs = self._inputs.branching(torch.zeros_like(depths), depths)
        self._model.base_model(input_ids=ids, **inputs, past_key_values=cache, use_cache=True)
        return Cache(layers=[_SharedLayer(layer.keys, layer.values) for layer in cache.layers])

    def _score(self, head: SparseHead, group: Sequence[tuple[Encoded, ...]], before: int) -> dict[Encoded, Found]:
        """Questions that all begin with the same `before` tokens."""
        rows = [_Branches.of(answers, before) for answers in group]
        caching: dict[str, Any] = {"use_cache": False} if self._caches else {}
        if before:
            caching = {"past_key_values": self._keys_and_values(group[0][0].ids[:before]), "use_cache": True}
        found: dict[Encoded, Found] = {}
        for chosen in batches(np.array([row.length for row in rows], np.int64), self._batch_tokens):
            batch = _Batch.of([rows[number] for number in chosen], before)
            ids, branches, depths, places, wanted = batch.tensors(self._model.device)
            logits = head.logits(
                places, input_ids=ids, **self._inputs.branching(branches, depths, before), **caching
            ).float()
            nats = -F.cross_entropy(logits, wanted, reduction="none").cpu().double().numpy()
            found |= batch.found(nats, (logits.argmax(-1) == wanted).cpu().numpy())
        return found


class _SharedLayer(DynamicLayer):
    """Keys and values [1, heads, before, width] that stand before those of every row, and stay as they are."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(self, keys: Tensor, values: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        rows = len(keys)
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), keys], dim=-2),
            torch.cat([self.values.expand(rows, -1, -1, -1), values], dim=-2),
        )


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows of questions side by side.

    Attributes:
        ids, branches, depths: int64 [b, L], as `RowInputs.branching` wants them.
        places: int64 [t], where among the b · L positions each scored token is predicted.
        targets: int64 [t], these tokens.
        owners: int64 [t], whose they are.
        answers: all of the rows.
    """

    ids: Integers
    branches: Integers
    depths: Integers
    places: Integers
    targets: Integers
    owners: Integers
    answers: Sequence[Encoded]

    @classmethod
    def of(cls, rows: Sequence[_Branches], before: int) -> "_Batch":
        shape = len(rows), max(row.length for row in rows)
        ids, depths = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        branches = np.full(shape, -1, np.int64)
        places: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        answers: list[Encoded] = []
        for number, row in enumerate(rows):
            common = len(row.common)
            ids[number, :common] = row.common
            branches[number, :common] = 0
            depths[number, :common] = np.arange(before, before + common)
            start = common
            for branch, (rest, answer) in enumerate(zip(row.rests, row.answers, strict=True), 1):
                end = start + len(rest)
                ids[number, start:end] = rest
                branches[number, start:end] = branch
                depths[number, start:end] = np.arange(len(rest)) + before + common
                for token in range(answer.first, answer.end):
                    column = token - 1 - before  # of what predicts it, as if there were this answer alone
                    places.append(number * shape[1] + column + (start - common if column >= common else 0))
                    targets.append(answer.ids[token])
                    owners.append(len(answers))
                answers.append(answer)
                start = end
        asked = (np.array(one, np.int64) for one in (places, targets, owners))
        return cls(ids, branches, depths, next(asked), next(asked), next(asked), answers)

    def tensors(self, device: torch.device) -> tuple[Tensor, ...]:
        arrays = (self.ids, self.branches, self.depths, self.places, self.targets)
        return tuple(torch.from_numpy(array).to(device) for array in arrays)

    def found(self, nats: NDArray[np.float64], best: NDArray[np.bool_]) -> dict[Encoded, Found]:
        """Sums of `nats` [t] for each answer, and whether each of its tokens is the `best` [t]."""
        totals = np.bincount(self.owners, weights=nats, minlength=len(self.answers))
        missed = np.bincount(self.owners, weights=~best, minlength=len(self.answers))
        return dict(zip(self.answers, zip(totals.tolist(), (missed == 0).tolist(), strict=True), strict=True))


def _common(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with; of the first and last of a sorted list it is what all of it do."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
