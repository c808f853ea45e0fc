"""Masked language modeling (Devlin et al. 2019, section 3.1): cross-entropy, in nats, of the words under the masks.

The loss is the sum of ``-log p(label)`` over the labelled positions; its count is their number. The stock classes
project every position to the vocabulary, of which 85 % have no label. Here a hook on the backbone hands the class only
the hidden states at labelled positions, as one row [1, n, H]; the class's own head then runs on those, whatever it is
made of. Positions come as a flat list filled up to a stable size, and the fill is ignored by its label.

Deviation from BERT: no next-sentence prediction (Liu et al. 2019).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfrep.data.batches import Batch, Collator
from hfrep.models.isolation import Documents, RowInputs, prove_isolation
from hfrep.objectives.base import Objective
from hfrep.objectives.masking import IGNORED, MaskingSettings


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
        self._labelled = _Labelled()
        kept.base_model.register_forward_hook(self._labelled)

    def collator(self) -> Collator:
        return self._collator

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"mlm": (batch["labels"] != IGNORED).sum()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits, labels = self.logits(batch).float(), batch["labels"]
        sums = {"mlm": F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")}
        if not self.training:
            sums["correct"] = (logits.argmax(-1) == labels).sum().float()
        return sums

    def prove_isolation(self, sequence_length: int) -> str:
        """Show that packed documents do not see each other; what was shown, as a sentence.

        Raises:
            ProofError: they do.
        """
        prove_isolation(self.kept, self._row_inputs, sequence_length=sequence_length)
        return "documents packed into one row do not see each other"

    def logits(self, batch: Batch) -> Tensor:
        """Scores over the vocabulary at ``label_positions`` [capacity, V], in the dtype the class computes in."""
        input_ids, segments = batch["input_ids"], batch["segments"]
        self._labelled.positions = batch["label_positions"]
        try:
            logits: Tensor = self.kept(input_ids=input_ids, **self._row_inputs(segments)).logits
        finally:
            self._labelled.positions = None
        return logits[0]


class _Labelled:
    """Forward hook of a backbone: keeps the hidden states at `positions`, or all of them where that is None."""

    positions: Tensor | None = None

    def __call__(self, backbone: nn.Module, inputs: tuple[object, ...], outputs: ModelOutput) -> ModelOutput:
        if self.positions is not None:
            hidden: Tensor = outputs.last_hidden_state
            outputs.last_hidden_state = torch.index_select(hidden.flatten(0, 1), 0, self.positions)[None]
        return outputs
