"""Settings: frozen dataclasses filled from a YAML file and from flags.

Precedence is field default < ``--config file.yaml`` < flag. Parsing is `transformers.HfArgumentParser`; what is added
is that abbreviations are refused, that an unknown key names its nearest neighbour, and that every mistake is one
sentence. A setting has one of three kinds, which decide what a resumed run may change:

- ``identity``: part of what the run *is*; a resume that differs is refused;
- ``schedule``: how long the run lasts and how it gets there; may change only with ``--extend``;
- ``operation``: logging, processes, sizes that fit in memory; free.
"""

import copy
import dataclasses
import difflib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import yaml
from transformers import HfArgumentParser

from hfrep.errors import ConfigError

COMMAND_LINE = "the command line"
Kind = Literal["identity", "schedule", "operation"]


def setting(default: Any, help: str, *, kind: Kind = "identity", aliases: Sequence[str] = ()) -> Any:
    """A dataclass field with its meaning and unit (``help``), its kind, and the other names it answers to."""
    metadata = {"help": help, "kind": kind, "aliases": [f"--{alias}" for alias in aliases]}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse(
    *groups: type,
    argv: Sequence[str] | None = None,
    description: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    positional: str | None = None,
) -> tuple[Any, ...]:
    """Fill one instance of each dataclass in `groups` from ``--config`` and flags.

    Args:
        argv: flags and values; the command line's where None.
        defaults: a recipe's own, in place of the fields'.
        positional: the setting whose value may stand first, without its name.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, an unreadable file.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if positional and arguments and not arguments[0].startswith("-"):
        arguments.insert(0, f"--{positional}")
    parser = _Parser(groups, description=description, allow_abbrev=False)
    parser.add_argument("--config", help="YAML file with any of these settings; a flag overrides it")
    parser.set_defaults(**(defaults or {}))
    file = _config_file(arguments)
    if file is not None:
        from_file = list(_flags_from(file, parser))
        parser.source = str(file)
        parser.parse_known_args(from_file)  # alone first, so that a mistake in the file is told as one
        parser.source = COMMAND_LINE
        arguments = [*from_file, *arguments]
    _, unknown = parser.parse_known_args(arguments)
    if unknown:  # before the dataclasses check their values: a misspelt name is why one of them is missing
        raise _unknown_key(unknown[0], COMMAND_LINE, parser)
    *filled, _config = parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    return tuple(filled)


def resolved(groups: Sequence[Any], *changed: Any) -> tuple[Any, ...]:
    """The filled dataclasses `groups` with those of the types of `changed` in their place."""
    by_type = {type(group): group for group in changed}
    return tuple(by_type.get(type(group), group) for group in groups)


def as_dict(groups: Sequence[Any], kind: Kind | None = None) -> dict[str, Any]:
    """All settings of the filled dataclasses `groups`, or those of one kind, by name."""
    return {
        field.name: getattr(group, field.name)
        for group in groups
        for field in dataclasses.fields(group)
        if kind is None or field.metadata["kind"] == kind
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """``name: stored → given`` for each key of `theirs` whose value in `ours` is another."""
    return [f"{name}: {theirs[name]} → {ours.get(name)}" for name in theirs if ours.get(name) != theirs[name]]


def writable_folder(name: str) -> Path:
    """The folder `name`, made and shown to take files, before the work whose results are to go into it.

    Raises:
        ConfigError: it cannot be made or written to.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(
            where=name, expected="a folder that can be written", found=str(error), do="give another --output_dir"
        ) from None
    return folder


class _Parser(HfArgumentParser):
    source = COMMAND_LINE

    @staticmethod
    def _parse_dataclass_field(parser: Any, field: "dataclasses.Field[Any]") -> None:
        # HfArgumentParser hands all metadata to argparse, which does not know `kind`.
        field = copy.copy(field)
        known = {key: value for key, value in field.metadata.items() if key != "kind"}
        if field.type == bool | None and field.default is None:
            known |= {"nargs": "?", "const": True}  # a bare flag means yes, as it does for a plain bool
        field.metadata = MappingProxyType(known)
        HfArgumentParser._parse_dataclass_field(parser, field)

    def flags(self) -> list[str]:
        """The names of all settings."""
        names = [name for name in self._option_string_actions if name.startswith("--")]
        return [name for name in names if name not in ("--config", "--help")]

    def error(self, message: str) -> NoReturn:
        raise ConfigError(
            where=self.source,
            expected="settings as --help lists them",
            found=message,
            do="correct that setting",
        )


def _config_file(arguments: Sequence[str]) -> Path | None:
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return Path(arguments[position + 1])
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config="))
    return None


def _flags_from(file: Path, parser: _Parser) -> Iterator[str]:
    """The file's settings as flags, so that one parser checks both alike."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise ConfigError(where=str(file), expected="a YAML file", found=found, do="correct --config") from None
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ConfigError(where=str(file), expected="`name: value` lines", found=found, do="correct the file")
    for name, value in content.items():
        if f"--{name}" not in parser.flags():
            raise _unknown_key(f"--{name}", str(file), parser)
        if value is None:
            continue
        if isinstance(value, list):
            yield from (f"--{name}", *map(str, value))
        else:
            yield f"--{name}={value}"  # in one piece, since a value may begin with a dash


def _unknown_key(flag: str, where: str, parser: _Parser) -> ConfigError:
    name = flag.split("=")[0]
    if not name.startswith("--"):
        return ConfigError(
            where=where, expected="a setting before each value", found=f"{name!r} alone", do="name its --setting"
        )
    nearest = difflib.get_close_matches(name.replace("-", "_").replace("__", "--", 1), parser.flags(), n=1, cutoff=0.0)
    return ConfigError(where=where, expected="a known setting", found=name, do=f"did you mean {nearest[0]}? (--help)")
