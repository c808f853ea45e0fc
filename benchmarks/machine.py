"""Where results are kept: a file for each machine."""

import platform
import re
import sys
from pathlib import Path

from hfrep.training.launch import usable_cores

RESULTS = Path(__file__).parent / "results"


def machine_name() -> str:
    """The processor's name and its cores, fit for a file's name."""
    told = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    model = re.search(r"model name\s*:\s*(.+)", told)
    flags = "-avx512" if "avx512f" in told else ""
    name = model[1] if model else platform.machine()
    return re.sub(r"[^a-z0-9]+", "-", f"{name}{flags} {usable_cores()} cores".lower()).strip("-")
