"""The head of a stock class, trained on what its frozen body gave it."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.batches import Batch
from hfrep.models.class_head import inputs_seen
from hfrep.models.classifier import Classifier
from hfrep.objectives.supervised import Predictor


class ClassHead(Predictor):
    """The new modules of a stock class over ``features`` float32 [b, 1, H], what the first of them is given.

    The class runs on texts of one token, and its first new module gets the stored vector in place of that token's. So
    whatever stands between and behind the new modules is computed as the class does it.
    """

    kept: PreTrainedModel

    def __init__(self, classifier: Classifier, *, regression: bool) -> None:
        super().__init__(regression=regression)
        self.kept, self._new = classifier.model, classifier.new
        self.kept.requires_grad_(False)
        for name in classifier.new:
            self.kept.get_submodule(name).requires_grad_(True)

    def logits(self, batch: Batch) -> Tensor:
        features = batch["features"][:, 0]
        token = 2 if self.kept.config.pad_token_id == 1 else 1
        ids = torch.full((len(features), 1), token, device=features.device)
        with inputs_seen(self.kept, self._new, lambda hidden: features.view(hidden.shape)):
            logits: Tensor = self.kept(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return logits[:, None]
