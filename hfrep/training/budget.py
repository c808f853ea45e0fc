"""When a run ends and how far it is: by steps, epochs, tokens or minutes, exactly one of them.

Everything that changes over a run (learning rate, mask rate) is asked by progress in [0, 1], so that it follows minutes
as well as steps.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from hfrep.errors import ConfigError
from hfrep.settings import setting


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    max_steps: int | None = setting(None, "budget: optimizer steps", kind="schedule")
    num_train_epochs: float | None = setting(None, "budget: passes over the training rows", kind="schedule")
    max_tokens: float | None = setting(
        None, "budget: positions seen, special tokens and padding included (1e8 is fine)", kind="schedule"
    )
    max_minutes: float | None = setting(
        None, "budget: minutes of training, evaluation and saving included", kind="schedule"
    )

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            if not 0 < value < math.inf:
                raise ConfigError(where=name, expected="more than 0", found=str(value), do="give a positive budget")

    @property
    def given(self) -> dict[str, float]:
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def or_default(self, **budget: Any) -> "BudgetSettings":
        """These settings, or `budget` where none is given.

        Raises:
            ConfigError: two are given.
        """
        if len(self.given) > 1:
            raise self.not_one()
        return self if self.given else BudgetSettings(**budget)

    def not_one(self) -> ConfigError:
        return ConfigError(
            where="the budget",
            expected="exactly one of --max_steps, --num_train_epochs, --max_tokens, --max_minutes",
            found=" and ".join(f"--{name}" for name in self.given) or "none",
            do="give one",
        )


@dataclass(frozen=True)
class Budget:
    """The length of a run.

    Attributes:
        steps: optimizer steps of the whole run; None where minutes decide.
        minutes: training time of the whole run; None where steps decide.
    """

    steps: int | None
    minutes: float | None

    @classmethod
    def of(cls, settings: BudgetSettings, *, rows: int, batch_rows: int, row_tokens: int) -> "Budget":
        """The budget for `rows` training rows, taken `batch_rows` a step, each of `row_tokens` positions.

        Raises:
            ConfigError: two budgets, or none.
        """
        if len(settings.given) != 1:
            raise settings.not_one()
        if settings.max_minutes is not None:
            return cls(None, settings.max_minutes)
        if settings.max_steps is not None:
            return cls(settings.max_steps, None)
        if settings.max_tokens is not None:
            return cls(math.ceil(settings.max_tokens / (batch_rows * row_tokens)), None)
        assert settings.num_train_epochs is not None
        return cls(math.ceil(settings.num_train_epochs * rows / batch_rows), None)

    def progress(self, step: float, seconds: float) -> float:
        """Share of the run that is done, in [0, 1], after `step` steps and `seconds` of training."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / 60 / self.minutes)

    def finished(self, step: int, seconds: float) -> bool:
        return self.progress(step, seconds) >= 1.0

    def __str__(self) -> str:
        return f"{self.steps:,} steps" if self.steps is not None else f"{self.minutes:g} minutes"
