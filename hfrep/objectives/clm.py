"""Causal language modeling: cross-entropy, in nats, of each token given those before it in its document.

The loss is the sum of ``-log p(token)`` over all tokens of the documents and their ends; its count is their number. The
begin token of a segment is given, never predicted, so no target crosses a document, whether or not documents see each
other. What is a target is read off the segments, not off token ids: an end token is one, whatever pads the row.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.batches import Batch, Collator
from hfrep.data.order import Addresses
from hfrep.data.rows import Arrays
from hfrep.models.activations import fuse_activations
from hfrep.models.isolation import Documents, RowInputs, prove_causality, prove_isolation
from hfrep.objectives.base import IGNORED, Objective
from hfrep.objectives.word_loss import WordLoss


@dataclass(frozen=True)
class CausalLMCollator:
    """Rows → a batch with the next token of each position as its label."""

    def __call__(self, rows: Arrays, addresses: Addresses) -> dict[str, Tensor]:
        """Label a batch.

        Args:
            rows: ``input_ids`` int64 and ``segments`` int64, each [b, L].

        Returns:
            ``input_ids``, ``segments`` and ``labels``, int64 [b, L]: the label is the token to the right where it is of
            the same segment, and -100 elsewhere.
        """
        tokens, segments = rows["input_ids"], rows["segments"]
        labels = np.full_like(tokens, IGNORED)
        same = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
        labels[:, :-1][same] = tokens[:, 1:][same]
        batch = {"input_ids": tokens, "segments": segments, "labels": labels}
        return {name: torch.from_numpy(values) for name, values in batch.items()}


class CausalLM(Objective):
    """A stock causal-language-model class, trained on packed rows."""

    def __init__(self, kept: PreTrainedModel, collator: Collator, *, documents: Documents = "isolate") -> None:
        super().__init__()
        fuse_activations(kept)
        self.kept = kept
        self._collator = collator
        self._row_inputs = RowInputs.of(kept, documents)
        self._loss = WordLoss(kept)

    def collator(self) -> Collator:
        return self._collator

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"clm": (batch["labels"] != IGNORED).sum()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        total, correct = self._loss(
            batch["labels"].flatten(),
            None,
            count_correct=not self.training,
            input_ids=batch["input_ids"],
            **self._row_inputs(batch["segments"]),
        )
        return {"clm": total} if self.training else {"clm": total, "correct": correct}

    def prove(self, sequence_length: int) -> list[str]:
        """Show that a token sees nothing behind it, and packed documents not each other; what was shown.

        Raises:
            ProofError: it does not hold.
        """
        prove_causality(self.kept, self._row_inputs, sequence_length=sequence_length)
        shown = ["a token sees nothing behind it"]
        if self._row_inputs.documents == "isolate":
            prove_isolation(self.kept, self._row_inputs, sequence_length=sequence_length)
            shown.append("documents packed into one row do not see each other")
        return shown
