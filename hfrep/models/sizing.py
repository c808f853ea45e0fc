"""One dial for the size of a model: a number of parameters → layers, width and heads.

Heads have 64 dimensions, so the width is a multiple of 64. What is left to choose is the aspect ratio, width over
layers. Loss depends on it only weakly: with the size held, it may vary 40-fold at a cost of a few percent (Kaplan et
al. 2020, "Scaling laws for neural language models", section 3.1). Published series lie between 33 (GPT-2 xl) and 128
(GPT-3), most of them near 64 (BERT base, GPT-2 small); so does this one.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hfrep.errors import ConfigError
from hfrep.models.shapes import HEAD_SIZE

RATIO = 64  # width over layers, the preferred one
RATIOS = (32, 128)  # the allowed ones
WIDEST = 2048
FEWEST_LAYERS = 2
CLOSE = 0.05  # shapes this near the size asked for are judged by their ratio
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class Shape:
    """Layers, width and heads, and how many parameters they come to."""

    layers: int
    width: int
    heads: int
    parameters: int

    @property
    def ratio(self) -> float:
        return self.width / self.layers


def parse_parameters(text: str) -> int:
    """``10M``, ``1.5B``, ``10_000_000`` or ``8e6`` as a number.

    Raises:
        ConfigError: anything else, or less than 1.
    """
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?(?:e\+?\d{1,2})?)([KMB]?)", text.strip(), re.IGNORECASE)
    number = round(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if number < 1:
        raise ConfigError(
            where="--parameters",
            expected="a number of parameters such as 10M, 1.5B, 10_000_000 or 8e6",
            found=repr(text),
            do="correct it",
        )
    return number


def choose_shape(family: str, wanted: int, count: Callable[[int, int, int], int], *, heads_step: int = 1) -> Shape:
    """The shape whose size is about `wanted`.

    Of the shapes within 5 % of it, the one whose aspect ratio is nearest to 64; without any, the nearest in size.

    Args:
        family: named in the error.
        count: (layers, width, heads) → parameters of such a model; linear in the layers from the second on.
        heads_step: heads come in multiples of this.

    Raises:
        ConfigError: less than the smallest shape has, or more than the largest.
    """
    ladder = sorted(_shapes(wanted, count, heads_step), key=lambda shape: shape.parameters)
    if wanted < ladder[0].parameters:
        raise _out_of_range(family, wanted, "at least", ladder[0], "ask for more, or take a smaller vocabulary")
    if wanted > ladder[-1].parameters:
        raise _out_of_range(family, wanted, "at most", ladder[-1], "ask for less, or give a config.json")
    close = [shape for shape in ladder if abs(shape.parameters / wanted - 1) <= CLOSE]
    if close:
        return min(close, key=lambda shape: abs(math.log(shape.ratio / RATIO)))
    return min(ladder, key=lambda shape: abs(math.log(shape.parameters / wanted)))


def _shapes(wanted: int, count: Callable[[int, int, int], int], heads_step: int) -> Iterator[Shape]:
    """Every allowed shape, up to widths whose smallest model is larger than `wanted`."""
    for heads in range(heads_step, WIDEST // HEAD_SIZE + 1, heads_step):
        width = heads * HEAD_SIZE
        fewest = max(FEWEST_LAYERS, math.ceil(width / RATIOS[1]))
        two = count(2, width, heads)
        layer = count(3, width, heads) - two
        for layers in range(fewest, max(fewest, width // RATIOS[0]) + 1):
            yield Shape(layers, width, heads, two + (layers - 2) * layer)
        if two + (fewest - 2) * layer > wanted:
            return


def _out_of_range(family: str, wanted: int, bound: str, shape: Shape, do: str) -> ConfigError:
    return ConfigError(
        where="--parameters",
        expected=f"{bound} the {shape.parameters:,} parameters of {family} with {shape.layers} layers of width "
        f"{shape.width} and this tokenizer",
        found=f"{wanted:,}",
        do=do,
    )
