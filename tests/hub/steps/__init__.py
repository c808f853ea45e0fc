"""What clients do with the local Hub. Each function without an underscore is one step: one repository, one claim.

``python -m hub.steps MODULE FOLDER`` takes the steps of one module in one process, since ``huggingface_hub`` wants its
settings at import and importing costs seconds. It prints for each step how it failed, or null.
"""

import ast
from pathlib import Path

MODULES = ("api", "faults", "with_datasets", "with_transformers")


def steps(module: str) -> list[str]:
    """Names of a module's steps, without importing it."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    functions = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [name for name in functions if not name.startswith("_")]
