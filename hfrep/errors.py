"""What can go wrong by a user's hand, each told in one sentence with four facts.

::

    HfrepError
    ├── ConfigError       a setting, or two that do not go together
    ├── DataError         a corpus, a tokenizer or blocks made of them
    ├── CheckpointError   a run folder or a checkpoint in it
    ├── TrainingError     training that cannot go on (a loss that is not finite, a full disk)
    ├── ProofError        a promise that was checked and does not hold
    ├── HubError          the Hub refuses what is asked of it
    └── UndeliveredError  something did not arrive at the Hub, and the user wants that to count as failed

An error that is ours, not the user's, stays an ordinary exception with its traceback.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, NoReturn

USER_ERROR_EXIT = 2
UNDELIVERED_EXIT = 3
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class HfrepError(Exception):
    """One sentence: where, what was expected, what was found, what to do.

    Attributes:
        exit_status: of a process that ends with it.
    """

    exit_status: ClassVar[int] = USER_ERROR_EXIT

    def __init__(self, *, where: str, expected: str, found: str, do: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}; {do}.")
        self.where, self.expected, self.found, self.do = where, expected, found, do

    def __reduce__(self) -> tuple[Any, ...]:  # so that one process can tell another
        facts = {"where": self.where, "expected": self.expected, "found": self.found, "do": self.do}
        return partial(type(self), **facts), ()


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


class HubError(HfrepError):
    pass


class UndeliveredError(HfrepError):
    exit_status = UNDELIVERED_EXIT


@contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """Print an `HfrepError` as its sentence, without a traceback, and exit with its status.

    So are told a disk without room and a missing permission, wherever they were met, and Ctrl-C outside of training
    (status 130).
    """
    try:
        yield
    except HfrepError as error:
        _exit(str(error), error.exit_status)
    except KeyboardInterrupt:
        _exit("stopped by Ctrl-C; what was saved stands.", 128 + signal.SIGINT)
    except PermissionError as error:
        denied = ConfigError(
            where=str(error.filename or "a file"),
            expected="a path that this user may use",
            found=str(error.strerror),
            do="change its permissions or name another",
        )
        _exit(str(denied), USER_ERROR_EXIT)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = error.filename or "the disk"
        full = TrainingError(
            where=str(where),
            expected="room to write",
            found=str(error.strerror),
            do="free space and start the same command again, which goes on from the last checkpoint",
        )
        _exit(str(full), USER_ERROR_EXIT)


def _exit(message: str, status: int) -> NoReturn:
    rank = os.environ.get("RANK", "0")
    print(f"error: {message}" if rank == "0" else f"error on rank {rank}: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
