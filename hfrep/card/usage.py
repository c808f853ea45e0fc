"""Snippets that open a model, for whichever place it stands in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from hfrep.card.place import arguments, download
from hfrep.fetching import HubName

DOWNLOAD = "from huggingface_hub import snapshot_download"
HERE = json.dumps(".")


@dataclass(frozen=True)
class Usage:
    """Python that makes a ``model`` and a ``tokenizer``.

    In its code these stand for what hangs on the place::

        $here     what from_pretrained is given
        $whole    the same, for what would look for the base model in the subfolder too
        $folder   the path of a folder with the files
        $base     what from_pretrained is given to open the base model

    Attributes:
        imports: its first lines.
        code: the others.
        note: a sentence before it.
    """

    imports: Sequence[str]
    code: str
    note: str = ""

    def at(self, place: HubName | None, base: str) -> str:
        """The snippet for a model in `place`, or for a process in its folder where that is None.

        Args:
            base: what stands for ``$base``.
        """
        imports, whole, folder = set(self.imports), HERE, HERE
        if place is not None:
            whole, folder = download(place) if place.subfolder else arguments(place), download(place)
            if "$folder" in self.code or ("$whole" in self.code and place.subfolder):
                imports.add(DOWNLOAD)
        here = HERE if place is None else arguments(place)
        code = Template(self.code).substitute(here=here, whole=whole, folder=folder, base=base)
        # As ruff sorts them: modules first, then what is taken out of them.
        lines = sorted(imports, key=lambda line: (line.startswith("from "), line))
        return "\n".join([*lines, "", code.strip()])
