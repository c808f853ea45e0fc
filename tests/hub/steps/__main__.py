"""Takes the steps of one module. The package's docstring says why so."""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import pytest

from hub.client import LocalHub

from . import steps


def main(name: str, folder: Path) -> None:
    module = importlib.import_module(f"hub.steps.{name}")
    hub = LocalHub(os.environ["HF_ENDPOINT"])
    failures: dict[str, str | None] = {}
    for step in steps(name):
        place = folder / step
        place.mkdir(parents=True)
        try:
            getattr(module, step)(hub, place)
            failures[step] = None
        except (Exception, pytest.fail.Exception):  # what pytest.raises raises is no Exception
            failures[step] = traceback.format_exc()
        hub.clear_faults()
    print(json.dumps(failures))


main(sys.argv[1], Path(sys.argv[2]))
