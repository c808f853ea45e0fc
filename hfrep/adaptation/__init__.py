"""Ways to adapt a pretrained model to a task, by name. A new one is one file and one line here."""

from hfrep.adaptation.base import Adaptation
from hfrep.adaptation.frozen import FROZEN
from hfrep.adaptation.full import FULL
from hfrep.adaptation.lora import LORA

ADAPTATIONS: dict[str, Adaptation] = {"full": FULL, "frozen": FROZEN, "lora": LORA}
