"""The folder of an adapter: what peft writes, and beside it what an adapter does not say of itself.

An adapter knows neither the names nor the number of its labels, and names its base model by a path that may hold other
weights by now. So ``labels.json`` tells::

    {"labels": ["no", "yes"], "num_labels": 2, "base": "/home/me/runs/mlm/model",
     "base_digest": "…", "base_bytes": 45678, "hfrep_version": "0.1.0"}

``labels`` is null for a regression. Adapters are opened strictly: missing or superfluous weights, other base weights
and another number of labels are errors, where peft warns or goes on.
"""

import json
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.adaptation.base_model import SEARCHED, Weights, find_base, model_folder
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import CheckpointError, ConfigError
from hfrep.models.classifier import open_classifier
from hfrep.models.presets import quiet_library
from hfrep.models.stored import reason

FACTS = "labels.json"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


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
    def read(cls, folder: Path) -> "AdapterFacts":
        """Those of the adapter in `folder`.

        Raises:
            CheckpointError: there are none, or they are damaged.
        """
        file = folder / FACTS
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            labels = facts["labels"]
            weights = Weights(str(facts["base_digest"]), int(facts["base_bytes"]))
            return cls(None if labels is None else tuple(map(str, labels)), str(facts["base"]), weights)
        except FileNotFoundError:
            raise CheckpointError(
                where=str(folder),
                expected=f"{FACTS}, which tells labels and base of an adapter saved by hfrep",
                found="none",
                do="open adapters of other origin with peft",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                where=str(file), expected="what save_adapter wrote", found=reason(error), do="restore the file"
            ) from None


def open_adapter(folder: Path, base: str | None = None) -> tuple[PeftModel, PreTrainedTokenizerFast]:
    """The adapter in `folder` on its base model, in eval mode and frozen, and its tokenizer.

    Args:
        base: where the base model is now; default: where the adapter says, or else any folder below ``runs`` with the
            same weights.

    Raises:
        CheckpointError: the folder holds no adapter of ours, or one that does not fit the base model.
        ConfigError: the base model is not found, or `base` is another.
        DataError: the tokenizer cannot be read.
    """
    config = _read_config(folder)
    facts = AdapterFacts.read(folder)
    tokenizer = load_tokenizer(str(folder), own_pad=False)
    place = _base(facts, config.revision, base, folder)
    classifier = open_classifier(str(place), labels=facts.labels, pad_token_id=tokenizer.pad_token_id)
    model = _load_strictly(classifier.model, folder, config)
    if place != model_folder(facts.base, config.revision):
        config.base_model_name_or_path, config.revision = str(place.resolve()), None
    return model, tokenizer


def _read_config(folder: Path) -> PeftConfig:
    if not (folder / CONFIG).is_file():
        inside = [path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))]
        do = f"give {inside[0]}" if inside else "give the folder of an adapter"
        raise CheckpointError(where=str(folder), expected=f"an {CONFIG}", found="none", do=do)
    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # each class of peft checks its fields in its own way
        raise _damaged(folder / CONFIG, "a configuration that peft reads", reason(error)) from error
    return config


def _base(facts: AdapterFacts, revision: str | None, base: str | None, adapter: Path) -> Path:
    if base is None:
        found = find_base(facts.weights, facts.base, revision)
        if found is None:
            raise ConfigError(
                where=f"the base model of {adapter}",
                expected=f"the weights it was trained on, in {facts.base} or in a folder below {SEARCHED}",
                found="none with their digest",
                do="say with --base where that model is now",
            )
        return found
    place = model_folder(base, None)
    if place is None:
        raise ConfigError(
            where="--base", expected="a folder with a model, or a Hub id", found=base, do="correct the path"
        )
    weights = Weights.of(place)
    if weights != facts.weights:
        raise ConfigError(
            where=f"--base {base}",
            expected=f"the weights that {adapter} was trained on (digest {facts.weights.digest[:12]}…)",
            found=f"others ({weights.digest[:12]}…)",
            do=f"give the model that was {facts.base}",
        )
    return place


def _load_strictly(model: PreTrainedModel, folder: Path, config: PeftConfig) -> PeftModel:
    file = folder / WEIGHTS
    try:
        with safe_open(file, "pt") as stored:
            given = set(stored.keys())
        with quiet_library(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(model, str(folder), config=config).eval()
            wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except (OSError, SafetensorError) as error:
        raise _damaged(file, "the weights of an adapter", reason(error)) from None
    except KeyError as error:  # peft looks for the modules it saves as they are
        raise _damaged(file, "all weights of the adapter", f"none called {error}") from None
    except (RuntimeError, ValueError, TypeError) as error:
        outputs = model.config.num_labels
        raise _damaged(file, f"weights for {type(model).__name__} with {outputs} outputs", reason(error)) from error
    if given != wanted:
        missing, extra = sorted(wanted - given), sorted(given - wanted)
        told = [f"{len(keys)} {word} ({keys[0]} …)" for keys, word in ((missing, "missing"), (extra, "extra")) if keys]
        raise _damaged(file, "the weights of the adapter and no others", " and ".join(told))
    return adapted


def _damaged(file: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(where=str(file), expected=expected, found=found, do="restore it, or train the adapter again")
