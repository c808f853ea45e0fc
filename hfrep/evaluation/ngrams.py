"""What counting alone would score on the same targets: unigram and left-neighbour bigram predictors.

Both are counted on the training rows and smoothed by adding one (Laplace):
p(w) = (c(w) + 1) / (Σ c + V) and p(w | v) = (c(v, w) + 1) / (c(v) + V), with V the vocabulary size. The left neighbour
is the original token, whether or not it was masked; for the first token of a segment it is the begin token. A masked
language model that does not beat the unigram has not learned to look at the context.
"""

import numpy as np

from hfrep.data.batches import MicroBatches
from hfrep.data.order import Integers
from hfrep.data.rows import Rows
from hfrep.objectives.masking import IGNORED, Booleans

ROWS_AT_A_TIME = 4096


def masked_ngram_losses(
    training: Rows, validation: MicroBatches, unigrams: Integers, special: Booleans
) -> dict[str, float]:
    """What both predictors score on the masked positions of the validation batches."""
    targets: list[Integers] = []
    neighbours: list[Integers] = []
    for first in range(0, validation.end or 0, validation.division.batch_rows):
        positions = np.arange(first, min(first + validation.division.batch_rows, validation.end or 0))
        addresses = validation.addresses(positions)
        rows = validation.rows.take(addresses.rows)
        batch = validation.collator(rows, addresses)
        places = batch["label_positions"][batch["labels"] != IGNORED].numpy()
        targets.append(rows["input_ids"].flat[places])
        neighbours.append(rows["input_ids"].flat[places - 1])
    return ngram_losses(training, np.concatenate(targets), np.concatenate(neighbours), unigrams, special)


def ngram_losses(
    rows: Rows, targets: Integers, neighbours: Integers, unigrams: Integers, special: Booleans
) -> dict[str, float]:
    """Mean loss in nats of both predictors over `targets` int64 [n] with their left `neighbours` int64 [n].

    Args:
        rows: training rows with ``input_ids`` and ``segments``.
        unigrams: int64 [V], how often each token stands in the training rows.
        special: bool [V], tokens that are never a target.
    """
    size = len(special)
    unigrams = np.where(special, 0, unigrams)
    starts = np.zeros(size, np.int64)
    wanted, where = np.unique(neighbours * size + targets, return_inverse=True)
    bigrams = np.zeros(len(wanted), np.int64)
    for first in range(0, len(rows), ROWS_AT_A_TIME):
        taken = rows.take(np.arange(first, min(first + ROWS_AT_A_TIME, len(rows))))
        tokens, segments = taken["input_ids"], taken["segments"]
        pairs = (segments[:, 1:] == segments[:, :-1]) & ~special[tokens[:, 1:]]
        left, right = tokens[:, :-1][pairs], tokens[:, 1:][pairs]
        starts += np.bincount(left, minlength=size)
        keys = left * size + right
        found = np.searchsorted(wanted, keys).clip(max=len(wanted) - 1)
        bigrams += np.bincount(found[wanted[found] == keys], minlength=len(wanted))
    unigram = np.log(unigrams.sum() + size) - np.log(unigrams[targets] + 1)
    bigram = np.log(starts[neighbours] + size) - np.log(bigrams[where] + 1)
    return {"eval_unigram_loss": float(unigram.mean()), "eval_bigram_loss": float(bigram.mean())}
