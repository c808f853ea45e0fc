"""Memory that is freed stays with the process, for the next step to use."""

import ctypes
import platform

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEEP_ALL = 2**31 - 1  # bytes at the heap's end that are given back at once when it exceeds them


def keep_freed_memory() -> bool:
    """Have the C allocator keep what is freed; whether it could be told.

    glibc maps blocks of many megabytes from the system one by one and gives each back when it is freed. A training step
    frees and asks for the same large tensors again and again, and each time the system would hand out pages full of
    zeros, one fault after the other: a third of the time of a step where logits take half a gigabyte.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, KEEP_ALL))
