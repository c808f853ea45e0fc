"""hfrep: pretrain, adapt and prompt small transformers, with runs that prove themselves."""

import os

__version__ = "0.1.0"

# OpenMP's threads wait for each other by spinning, for a millisecond and more. Where another program wants a core too,
# a thread spins while the one it waits for does not run. Waiting shorter costs nothing on an idle machine and takes
# a third off a step's time on a busy one (recipes/README.md). GNU's runtime reads this when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
