"""What is no one else's business: where on a machine things lie, and so often who its user is."""

import re
from pathlib import Path
from typing import Any

# /home/me/texts/a.txt, ~/texts or file:///home/me: not the slash of a fraction, a tag, an address or of org/name.
_PATH = re.compile(r"(?<![\w.:/~<])(?:file://)?~?/(?:[^\s/'\"`,;|()\[\]]+/)*([^\s/'\"`,;|()\[\]]+)/?")


def without_paths(value: Any) -> Any:
    """A value as JSON has it, in all of whose strings only the last name is left of whole paths."""
    if isinstance(value, str):
        return _PATH.sub(_last_name, value)
    if isinstance(value, list | tuple):
        return [without_paths(one) for one in value]
    if isinstance(value, dict):
        return {name: without_paths(one) for name, one in value.items()}
    return value


def _last_name(path: "re.Match[str]") -> str:
    return "~" if path[0].rstrip("/") == str(Path.home()) else path[1]
