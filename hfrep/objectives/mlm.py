"""Masked language modeling (Devlin et al. 2019, section 3.1): cross-entropy, in nats, of the words under the masks.

The loss is the sum of ``-log p(label)`` over the labelled positions (`hfrep.objectives.word_loss`); its count is their
number. Positions come as a flat list filled up to a stable size, and the fill is ignored by its label.

Deviation from BERT: no next-sentence prediction (Liu et al. 2019).
"""

from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.batches import Batch, Collator
from hfrep.models.isolation import Documents, RowInputs, prove_isolation
from hfrep.objectives.base import IGNORED, Objective
from hfrep.objectives.masking import MaskingSettings
from hfrep.objectives.word_loss import WordLoss


class MaskedLM(Objective):
    """A stock masked-language-model class, trained on packed rows.

    Batches hold ``input_ids`` and ``segments`` int64 [b, L], and ``label_positions`` and ``labels`` int64 [capacity]:
    indices into the flattened b · L positions and the ids that stood there, filled up with position 0 and label -100.
    """

    Options = MaskingSettings

    def __init__(self, kept: PreTrainedModel, collator: Collator, *, documents: Documents = "isolate") -> None:
        super().__init__()
        self.kept = kept
        self._collator = collator
        self._row_inputs = RowInputs.of(kept, documents)
        self._loss = WordLoss(kept)

    def collator(self) -> Collator:
        return self._collator

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"mlm": (batch["labels"] != IGNORED).sum()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        total, correct = self._loss(
            batch["labels"],
            batch["label_positions"],
            count_correct=not self.training,
            input_ids=batch["input_ids"],
            **self._row_inputs(batch["segments"]),
        )
        return {"mlm": total} if self.training else {"mlm": total, "correct": correct}

    def prove(self, sequence_length: int) -> list[str]:
        """Show that packed documents do not see each other, where they are not to; what was shown.

        Raises:
            ProofError: they do.
        """
        if self._row_inputs.documents == "join":
            return []
        prove_isolation(self.kept, self._row_inputs, sequence_length=sequence_length)
        return ["documents packed into one row do not see each other"]
