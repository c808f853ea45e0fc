"""The two files of a card: ``README.md``, and ``card.json``, which it can be told from once more."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hfrep.card.facts import Base, Card, Evaluation
from hfrep.card.markdown import markdown
from hfrep.card.usage import Usage
from hfrep.errors import CheckpointError
from hfrep.fetching import HubName

FACTS, TEXT = "card.json", "README.md"


def write_card(card: Card, folder: Path) -> None:
    """Put both files into `folder`, for who opens it from inside."""
    facts = json.dumps(asdict(card), indent=1, ensure_ascii=False, default=str)
    (folder / FACTS).write_text(facts + "\n", encoding="utf-8")
    (folder / TEXT).write_text(markdown(card), encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card of what is saved in `folder`.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    file = folder / FACTS
    try:
        return _card(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CheckpointError(
            where=str(folder),
            expected=f"{FACTS}, which hfrep writes beside what it saves",
            found="none",
            do="save it with this version of hfrep, or push the folder as it is with `hf upload`",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            where=str(file), expected="what hfrep wrote there", found=str(error), do="restore the file"
        ) from None


def _card(facts: dict[str, Any]) -> Card:
    base = facts["base"]
    if base is not None:
        base = Base(**base | {"hub": None if base["hub"] is None else HubName(**base["hub"])})
    made = {
        "usages": [Usage(**usage) for usage in facts["usages"]],
        "evaluations": [Evaluation(**evaluation) for evaluation in facts["evaluations"]],
        "base": base,
    }
    return Card(**facts | made)
