"""The corpora in which items are looked for: those that are named, or those that a run was trained on."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hfrep.data.corpus import Corpus, CorpusSettings, ReadingSettings, open_corpus, open_training_and_validation
from hfrep.errors import ConfigError

OF_THE_RUN = "run"


def open_corpora(names: Sequence[str], model: str) -> Callable[[], Iterator[str]]:
    """What reads all corpora in `names`; of ``run`` what `model`, which lies in a run's folder, was trained on.

    Raises:
        ConfigError: there is no such run.
        DataError: a corpus cannot be read.
    """
    corpora = [
        corpus
        for name in names
        for corpus in (_trained_on(Path(model)) if name == OF_THE_RUN else [open_corpus(name, ReadingSettings())])
    ]
    return lambda: itertools.chain.from_iterable(corpus.documents() for corpus in corpora)


def _trained_on(model: Path) -> list[Corpus]:
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
    if told.get("blocks"):
        raise ConfigError(
            where="--check_contamination run",
            expected="a run from texts",
            found=f"one from blocks ({told['blocks']}), which do not say where their texts lie",
            do="name the corpora instead",
        )
    training, _ = open_training_and_validation(settings)
    return training
