"""What a card tells, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfrep.card.place import arguments
from hfrep.card.usage import Usage
from hfrep.fetching import HubName, commit_of
from hfrep.models.base_weights import Weights
from hfrep.models.named import is_whole, model_folder


@dataclass(frozen=True)
class Base:
    """The model that another one was made from.

    Attributes:
        hub: where it stands on the Hub, at a commit; None where it does not.
        folder: whole path on this machine; None where it came from the Hub, or where the path is not to be told.
        digest: of its weight files, see `Weights`.
    """

    hub: HubName | None = None
    folder: str | None = None
    digest: str | None = None

    @classmethod
    def named(cls, name: str) -> "Base":
        """The model that settings call `name`: a folder or a place on the Hub.

        Raises:
            HfrepError: it cannot be had, or has no weights.
        """
        place = model_folder(name)
        digest = Weights.of(place).digest
        hub = None if Path(name).is_dir() else HubName.parse(name)
        if hub is None or not is_whole(name):  # what an adapter is merged into is on this machine only
            return cls(folder=str(place.resolve()), digest=digest)
        return cls(replace(hub, revision=commit_of(name)), digest=digest)

    @property
    def place(self) -> HubName:
        """Name or path, subfolder and revision, as ``from_pretrained`` takes them."""
        return HubName(str(self.folder)) if self.hub is None else self.hub


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one split of a data set.

    Attributes:
        data: its title, for readers.
        scores: by name, as `hfrep.card.metadata.METRICS` has them; a name that it does not have is of something that
            the model is held against.
        how: on which rows and by which rules, a sentence without its full stop.
        dataset: ``org/name`` or ``org/name:config`` on the Hub; None where it is none of the Hub.
        split: its name; empty where it has none.
    """

    data: str
    scores: Mapping[str, float]
    how: str
    dataset: str | None = None
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts that a card tells.

    Attributes:
        title, summary: the heading and the sentence below it.
        library_name, pipeline_tag: what opens the model, and what the Hub shows it as.
        tags: words that it is found by on the Hub.
        usages: how it is opened; the first one is what most want.
        datasets: Hub ids of what it was trained on, as far as that is of the Hub.
        base: what it was made from; None where it began with random weights.
        training: a table of name and value.
        evaluations: what was measured.
        proofs: sentences on what was checked.
        examples: what the model does with a few inputs, as text.
        limits: what it should not be used for.
        language, license: see `hfrep.hub.staging.About`.
    """

    title: str
    summary: str
    library_name: str
    pipeline_tag: str
    tags: Sequence[str]
    usages: Sequence[Usage]
    datasets: Sequence[str] = ()
    base: Base | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()
    proofs: Sequence[str] = ()
    examples: Sequence[str] = ()
    limits: str
    language: Sequence[str] = ()
    license: str | None = None

    def snippets(self, place: HubName | None = None) -> list[str]:
        """Python that opens the model in `place`, or, where that is None, from inside its folder."""
        base = "" if self.base is None else arguments(self.base.place)
        return [usage.at(place, base) for usage in self.usages]

    def proved(self, proof: str) -> "Card":
        """With a sentence on what was checked since."""
        return self if proof in self.proofs else replace(self, proofs=[*self.proofs, proof])
