"""The corpora in which items are looked for: those that are named, or those that a run was trained on."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from hfrep.data.corpus import CorpusSettings, ReadingSettings, open_corpus, open_training_and_validation
from hfrep.errors import ConfigError

OF_THE_RUN = "run"


def documents(names: Sequence[str], model: str) -> Iterator[str]:
    """The documents of all corpora in `names`; of ``run`` those that `model`, which lies in a run's folder, read.

    Raises:
        ConfigError: there is no such run.
        DataError: a corpus cannot be read.
    """
    return itertools.chain.from_iterable(
        _trained_on(Path(model)) if name == OF_THE_RUN else open_corpus(name, ReadingSettings()).documents()
        for name in names
    )


def _trained_on(model: Path) -> Iterator[str]:
    file = model.parent / "run.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))["settings"]
        known = [field.name for field in dataclasses.fields(CorpusSettings)]
        settings = CorpusSettings(**{name: told[name] for name in known if name in told and name != "cache_dir"})
        if "corpus" not in told:
            raise KeyError("corpus")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            where="--check_contamination run",
            expected=f"a run.json beside the folder {model}, which says what it was trained on",
            found=f"{type(error).__name__} of {file}",
            do="name the corpora instead",
        ) from None
    training, _ = open_training_and_validation(settings)
    return itertools.chain.from_iterable(corpus.documents() for corpus in training)
