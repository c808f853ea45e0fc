"""A table of strings, for the terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A header and rows of as many fields; `words` are the places of the columns that are set to the left."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int]

    def text(self) -> list[str]:
        """Lines for the terminal, in columns."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return [
            "  ".join(
                f"{field:{'<' if place in self.words else '>'}{width}}"
                for place, (field, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]

    def markdown(self) -> list[str]:
        """Lines of a table in Markdown."""
        header, *rows = [[field.replace("|", "\\|") for field in line] for line in (self.header, *self.rows)]
        rule = [":--" if place in self.words else "--:" for place in range(len(header))]
        return ["| " + " | ".join(line) + " |" for line in (header, rule, *rows)]
