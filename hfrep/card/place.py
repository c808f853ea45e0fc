"""A place on the Hub, as a reader can paste it into Python or follow it."""

import json

from huggingface_hub import constants

from hfrep.fetching import HubName


def arguments(place: HubName) -> str:
    """What ``from_pretrained`` is given to open what stands there."""
    return _arguments(place, subfolder=place.subfolder or None)


def download(place: HubName) -> str:
    """What fetches the files that stand there and gives the folder they are in."""
    if not place.subfolder:
        return f"snapshot_download({_arguments(place)})"
    fetched = _arguments(place, allow_patterns=f"{place.subfolder}/*")
    return f"snapshot_download({fetched}) + {json.dumps('/' + place.subfolder)}"


def link(place: HubName) -> str:
    """In Markdown, to the page of the repository."""
    return f"[{place.repository}]({constants.ENDPOINT}/{place.repository})"


def _arguments(place: HubName, **more: str | None) -> str:
    named = {"revision": place.revision, **more}
    given = [f"{name}={json.dumps(value)}" for name, value in named.items() if value is not None]
    return ", ".join([json.dumps(place.repository), *given])
