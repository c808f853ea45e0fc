"""What counting alone would score on the same targets: unigram and left-neighbour bigram predictors.

Both are counted on the training rows and smoothed by adding one (Laplace):
p(w) = (c(w) + 1) / (Σ c + V) and p(w | v) = (c(v, w) + 1) / (c(v) + V), with V the vocabulary size. The left neighbour
is the original token, whether or not it was masked; for the first token of a segment it is the begin token. A model
that does not beat the unigram has not learned to look at the context.
"""

from collections.abc import Callable

import numpy as np

from hfrep.data.batches import Batch, MicroBatches
from hfrep.data.order import Integers
from hfrep.data.rows import Rows
from hfrep.objectives.base import IGNORED
from hfrep.objectives.masking import Booleans

ROWS_AT_A_TIME = 4096


def masked_targets(batch: Batch) -> Integers:
    """Where the targets of a masked batch stand, as indices into its flattened b · L positions; int64 [n]."""
    return batch["label_positions"][batch["labels"] != IGNORED].numpy()


def next_tokens(batch: Batch) -> Integers:
    """The same for a batch whose labels are the tokens to the right."""
    return np.flatnonzero(batch["labels"].numpy() != IGNORED) + 1


def ngram_baselines(
    training: Rows,
    validation: MicroBatches,
    targets_of: Callable[[Batch], Integers],
    unigrams: Integers,
    never: Booleans,
) -> dict[str, float]:
    """What both predictors score on the targets of the validation batches; for the other arguments see `ngram_losses`.

    Args:
        targets_of: `masked_targets` or `next_tokens`.
    """
    targets: list[Integers] = []
    neighbours: list[Integers] = []
    for first in range(0, validation.end or 0, validation.division.batch_rows):
        positions = np.arange(first, min(first + validation.division.batch_rows, validation.end or 0))
        addresses = validation.addresses(positions)
        rows = validation.rows.take(addresses.rows)
        batch = validation.collator(rows, addresses)
        places = targets_of(batch)
        targets.append(rows["input_ids"].flat[places])
        neighbours.append(rows["input_ids"].flat[places - 1])
    return ngram_losses(training, np.concatenate(targets), np.concatenate(neighbours), unigrams, never)


def ngram_losses(
    rows: Rows, targets: Integers, neighbours: Integers, unigrams: Integers, never: Booleans
) -> dict[str, float]:
    """Mean loss in nats of both predictors over `targets` int64 [n] with their left `neighbours` int64 [n].

    Args:
        rows: training rows with ``input_ids`` and ``segments``.
        unigrams: int64 [V], how often each token stands in the training rows.
        never: bool [V], tokens that are never a target.
    """
    size = len(never)
    unigrams = np.where(never, 0, unigrams)
    starts = np.zeros(size, np.int64)
    wanted, where = np.unique(neighbours * size + targets, return_inverse=True)
    bigrams = np.zeros(len(wanted), np.int64)
    for first in range(0, len(rows), ROWS_AT_A_TIME):
        taken = rows.take(np.arange(first, min(first + ROWS_AT_A_TIME, len(rows))))
        tokens, segments = taken["input_ids"], taken["segments"]
        pairs = (segments[:, 1:] == segments[:, :-1]) & ~never[tokens[:, 1:]]
        left, right = tokens[:, :-1][pairs], tokens[:, 1:][pairs]
        starts += np.bincount(left, minlength=size)
        keys = left * size + right
        found = np.searchsorted(wanted, keys).clip(max=len(wanted) - 1)
        bigrams += np.bincount(found[wanted[found] == keys], minlength=len(wanted))
    unigram = np.log(unigrams.sum() + size) - np.log(unigrams[targets] + 1)
    bigram = np.log(starts[neighbours] + size) - np.log(bigrams[where] + 1)
    return {"eval_unigram_loss": float(unigram.mean()), "eval_bigram_loss": float(bigram.mean())}
