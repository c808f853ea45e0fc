"""Causal language modeling: cross-entropy, in nats, of each token given those before it in its document.

The loss is the sum of ``-log p(token)`` over all tokens of the documents and their ends; its count is their number. The
begin token of a segment is given, never predicted, so no target crosses a document, whether or not documents see each
other. What is a target is read off the segments, not off token ids: an end token is one, whatever pads the row.

Where the class's logits are a plain product with its output matrix, they are never held for all positions at once
(`hfrep.objectives.linear_loss`); other classes compute them as they do.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.batches import Batch, Collator
from hfrep.data.order import Addresses
from hfrep.data.rows import Arrays
from hfrep.models.activations import fuse_activations
from hfrep.models.isolation import Documents, RowInputs, prove_causality, prove_isolation
from hfrep.models.linear_head import LinearHead, has_linear_head
from hfrep.objectives.base import IGNORED, Objective
from hfrep.objectives.linear_loss import linear_cross_entropy


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
        self._head = LinearHead(kept) if has_linear_head(kept) else None

    def collator(self) -> Collator:
        return self._collator

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"clm": (batch["labels"] != IGNORED).sum()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        labels, evaluating = batch["labels"].flatten(), not self.training
        inputs = {"input_ids": batch["input_ids"], **self._row_inputs(batch["segments"])}
        if self._head is None:
            logits = self.kept(**inputs).logits.flatten(0, 1).float()
            total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
            correct = (logits.argmax(-1) == labels).sum().float() if evaluating else total
        else:
            hidden = self._head.hidden(**inputs).flatten(0, 1)
            output = self._head.output
            total, correct = linear_cross_entropy(hidden, output.weight, output.bias, labels, count_correct=evaluating)
        return {"clm": total, "correct": correct} if evaluating else {"clm": total}

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
