"""What an adapted model says about each example: every row exactly once, whatever the number of processes."""

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from hfrep.data.batches import rows_of_like_length
from hfrep.data.rows import Rows
from hfrep.objectives.supervised import Predictor

BATCH_TOKENS, FEATURE_TOKENS = 4096, 16  # padding included; what a row of features counts as


def predict(objective: Predictor, rows: Rows, accelerator: Accelerator) -> NDArray[np.float32]:
    """The logits of `objective`, in eval mode, for all `rows`: [n, candidates, outputs], the same on every process."""
    objective.eval()
    lengths = np.full(len(rows), FEATURE_TOKENS) if rows.lengths is None else rows.lengths
    mine = np.arange(accelerator.process_index, len(rows), accelerator.num_processes)
    found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    with torch.no_grad():
        for places in rows_of_like_length(lengths[mine], BATCH_TOKENS):
            batch = {
                name: torch.from_numpy(np.ascontiguousarray(part)).to(accelerator.device)
                for name, part in rows.take(mine[places]).items()
            }
            found.append((mine[places], objective.logits(batch).float().cpu().numpy()))
    together = gather_object(found)
    numbers = np.concatenate([part for part, _ in together])
    assert np.array_equal(np.sort(numbers), np.arange(len(rows))), "each row is predicted once"
    logits = np.concatenate([values for _, values in together])
    return logits[np.argsort(numbers)]
