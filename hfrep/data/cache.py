"""Folders that are expensive to make: made once, by one process of a machine, and never seen half done.

The first local process builds into a folder of another name and renames it; the others look for the finished folder
every half second. They do not wait at a collective, whose time-out a long tokenization would exceed.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from hfrep.errors import DataError

POLL_SECONDS = 0.5


def default_cache() -> Path:
    """``$HFREP_CACHE``, or ``hfrep`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HFREP_CACHE") or Path(base) / "hfrep")


def prepared(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, which ``build(empty_folder)`` has filled: now, in an earlier run, or in another process.

    Raises:
        DataError: the folder cannot be written, or the process that was to build it is gone.
    """
    if folder.is_dir():
        return folder
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        _build(folder, build)
    else:
        _wait_for(folder)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        build(aside)
        aside.rename(folder)
    except OSError as error:
        if folder.is_dir():  # another run finished the same folder first
            return
        raise DataError(
            where=str(folder.parent),
            expected="a folder that can be written",
            found=str(error),
            do="free space there, or set HFREP_CACHE to another folder",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _wait_for(folder: Path) -> None:
    builder = os.getppid()  # the launcher; it ends when the building process fails
    while not folder.is_dir():
        if os.getppid() != builder or not psutil.pid_exists(builder):
            raise DataError(
                where=str(folder),
                expected="the machine's first process to prepare it",
                found="that process gone",
                do="see its message and start again",
            )
        time.sleep(POLL_SECONDS)
