"""The model card: what was trained, on what, for how long, how well, what was proved, and how it is opened.

A card is kept twice in the folder that it describes: as ``README.md`` for readers and the Hub, and as ``card.json``,
from which the same is written for another place, such as the Hub once the folder goes there.
"""

from hfrep.card.facts import Base, Card, Evaluation
from hfrep.card.usage import Usage

__all__ = ["Base", "Card", "Evaluation", "Usage"]
