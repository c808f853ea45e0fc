"""What the C allocator does with memory that is freed: keep it for the next step, or give it back."""

import ctypes
import platform
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of glibc's mallopt, from malloc.h
NEVER = -1


def keep_freed_memory() -> bool:
    """Have the C allocator keep what is freed from now on; whether it could be told.

    glibc maps blocks of many megabytes from the system one by one and gives each back when it is freed. A training step
    frees and asks for the same large tensors again and again, and each time the system would hand out pages full of
    zeros, one fault after the other: a third of the time of a step where logits take half a gigabyte.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, NEVER))


def give_back_freed_memory() -> None:
    """What earlier work has freed stays resident until the C library is told; later work would seem to take none."""
    with suppress(OSError, AttributeError):  # a C library without such a call
        ctypes.CDLL(None).malloc_trim(0)
