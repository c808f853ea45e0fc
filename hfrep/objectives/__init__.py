"""Pretext tasks by name. A new one is one file and one line here."""

from hfrep.objectives.base import Objective
from hfrep.objectives.clm import CausalLM
from hfrep.objectives.mlm import MaskedLM

OBJECTIVES: dict[str, type[Objective]] = {"mlm": MaskedLM, "clm": CausalLM}
