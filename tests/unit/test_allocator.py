"""Freed memory stays with the process once the allocator was told, and goes back when asked to."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, psutil
from hfrep.training.allocator import give_back_freed_memory, keep_freed_memory

def resident_after_freeing() -> int:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = psutil.Process().memory_info().rss
    block = libc.malloc(ctypes.c_size_t(200_000_000))
    ctypes.memset(block, 1, 200_000_000)
    libc.free(block)
    return psutil.Process().memory_info().rss - before

plain, told, kept = resident_after_freeing(), keep_freed_memory(), resident_after_freeing()
before = psutil.Process().memory_info().rss
give_back_freed_memory()
print(plain, told, kept, before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept_and_given_back():
    """In a process of its own, since what it is told lasts."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    plain, told, kept, given_back = run.stdout.split()
    assert told == "True"
    assert int(plain) < 50e6
    assert int(kept) > 150e6
    assert int(given_back) > 150e6
