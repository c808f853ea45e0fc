"""The tasks that are known by name: those of GLUE, and the built-in ones."""

from hfrep.tasks.docstrings import DOCSTRING_TASKS
from hfrep.tasks.glue import GLUE

TASKS = GLUE | DOCSTRING_TASKS
