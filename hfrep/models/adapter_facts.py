"""What the folder of an adapter says of itself, read without the libraries that open it.

An adapter of peft names its base model in ``adapter_config.json``. It knows neither the names nor the number of its
labels, and the base may be a path that holds other weights by now. So adapters of this package have a ``labels.json``::

    {"labels": ["no", "yes"], "num_labels": 2, "base": "me/tiny@0123456789abcdef…",
     "base_digest": "…", "base_bytes": 45678, "hfrep_version": "0.1.0"}

``labels`` is null for a regression.
"""

import dataclasses
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hfrep.errors import CheckpointError
from hfrep.fetching import HubName
from hfrep.models.base_weights import Weights, weight_files
from hfrep.models.stored import reason

FACTS = "labels.json"
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class AdapterFacts:
    """What ``labels.json`` tells.

    Attributes:
        labels: names of the classes in the order of their numbers; None where a number is predicted.
        base: the base model: whole path of a folder, or Hub id.
        weights: the base model's.
    """

    labels: tuple[str, ...] | None
    base: str
    weights: Weights

    def write(self, folder: Path) -> None:
        facts = {
            "labels": self.labels,
            "num_labels": 1 if self.labels is None else len(self.labels),
            "base": self.base,
            "base_digest": self.weights.digest,
            "base_bytes": self.weights.size,
            "hfrep_version": version("hfrep"),
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "AdapterFacts | None":
        """Those of the adapter in `folder`; None where it is not one of ours.

        Raises:
            CheckpointError: they are damaged.
        """
        file = folder / FACTS
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            labels = facts["labels"]
            weights = Weights(str(facts["base_digest"]), int(facts["base_bytes"]))
            return cls(None if labels is None else tuple(map(str, labels)), str(facts["base"]), weights)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                where=str(file), expected="what save_adapter wrote", found=reason(error), do="restore the file"
            ) from None


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter of peft and no whole model."""
    return (folder / CONFIG).is_file() and not weight_files(folder)


def base_name(folder: Path) -> str:
    """The base model of the adapter in `folder`, as ``adapter_config.json`` names it, with its revision.

    Raises:
        CheckpointError: it names none.
    """
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        name, revision = config["base_model_name_or_path"], config.get("revision")
        hub = HubName.parse(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            where=str(file), expected="the name of a base model", found=reason(error), do="add base_model_name_or_path"
        ) from None
    return name if hub is None or not revision else str(dataclasses.replace(hub, revision=revision))
