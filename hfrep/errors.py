"""What can go wrong by a user's hand, each told in one sentence with four facts.

::

    HfrepError
    ├── ConfigError       a setting, or two that do not go together
    ├── DataError         a corpus, a tokenizer or blocks made of them
    ├── CheckpointError   a run folder or a checkpoint in it
    ├── TrainingError     training that cannot go on (a loss that is not finite, a full disk)
    └── ProofError        a promise that was checked and does not hold

An error that is ours, not the user's, stays an ordinary exception with its traceback.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

USER_ERROR_EXIT = 2


class HfrepError(Exception):
    """One sentence: where, what was expected, what was found, what to do."""

    def __init__(self, *, where: str, expected: str, found: str, do: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}; {do}.")
        self.where, self.expected, self.found, self.do = where, expected, found, do


class ConfigError(HfrepError):
    pass


class DataError(HfrepError):
    pass


class CheckpointError(HfrepError):
    pass


class TrainingError(HfrepError):
    pass


class ProofError(HfrepError):
    pass


@contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """Print an `HfrepError` as its sentence, without a traceback, and exit with status 2."""
    try:
        yield
    except HfrepError as error:
        rank = os.environ.get("RANK", "0")
        print(f"error: {error}" if rank == "0" else f"error on rank {rank}: {error}", file=sys.stderr, flush=True)
        sys.exit(USER_ERROR_EXIT)
