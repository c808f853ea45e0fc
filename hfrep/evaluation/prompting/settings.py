"""How a model is prompted, and what is made of its answers."""

from dataclasses import dataclass

from hfrep.errors import ConfigError
from hfrep.evaluation.prompting.calibration import CALIBRATIONS
from hfrep.evaluation.prompting.choices import NORMALIZATIONS
from hfrep.evaluation.prompting.demonstrations import LOOKED_THROUGH, Demonstrations
from hfrep.evaluation.prompting.fitting import Long
from hfrep.evaluation.prompting.masked import MaskedScoring
from hfrep.evaluation.sentences import BATCH_TOKENS
from hfrep.settings import setting


@dataclass(frozen=True, kw_only=True)
class PromptingSettings:
    shots: list[int] = setting([0, 4], "demonstrations before an item: one number or more", aliases=("num_fewshot",))
    seeds: list[int] = setting([0, 1, 2], "draws of the demonstrations", aliases=("seed",))
    demonstrations: Demonstrations = setting(
        "random",
        "random; balanced: the classes take turns; first: the first ones; nearest: most like the item by the model's "
        "own features",
    )
    templates: list[int] | None = setting(None, "numbers of the prompts' templates, from 1; default: all")
    normalization: list[str] = setting(
        ["sum"],
        f"scores by which choices are compared, one or more of {', '.join(NORMALIZATIONS)}: the log-likelihood, or "
        "that by the token, character or byte, or less that without the item",
    )
    calibration: list[str] = setting(
        ["none"],
        f"one or more of {', '.join(CALIBRATIONS)}: what the prompt says to an item without content, or on average "
        "to all items, is taken away",
    )
    masked_scoring: MaskedScoring = setting(
        "mask",
        "of masked models; mask: all tokens of an answer at once; pseudo_likelihood: one at a time, the others seen",
    )
    long_items: Long = setting(
        "refuse", "what to do with an item that is too long without demonstrations; cut: leave out its beginning"
    )
    check_contamination: list[str] | None = setting(
        None,
        "corpora in which to look for the items' texts, or `run`: what the model's run.json names; scores are told "
        "without such items too",
        kind="operation",
    )
    eval_batch_tokens: int = setting(
        BATCH_TOKENS, "tokens, padding included, that go through the model at once", kind="operation"
    )

    def __post_init__(self) -> None:
        for name in ("shots", "seeds", "normalization", "calibration"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                found = ", ".join(map(str, given)) or "none"
                raise ConfigError(where=f"--{name}", expected="one or more, each once", found=found, do="correct it")
        for name, least in (("shots", 0), ("templates", 1), ("seeds", 0)):
            for value in getattr(self, name) or ():
                if value < least:
                    raise ConfigError(where=f"--{name}", expected=f"{least} or more", found=str(value), do="raise it")
        for name, known in (("normalization", NORMALIZATIONS), ("calibration", CALIBRATIONS)):
            for value in getattr(self, name):
                if value not in known:
                    expected = f"some of {', '.join(known)}"
                    raise ConfigError(where=f"--{name}", expected=expected, found=value, do="correct it")
        if self.demonstrations == "nearest" and "contextual" in self.calibration:
            raise ConfigError(
                where="--calibration",
                expected="none or batch with --demonstrations nearest, where each item has a prompt of its own",
                found="contextual",
                do="leave one of them out",
            )
        if self.eval_batch_tokens < 1:
            found = str(self.eval_batch_tokens)
            raise ConfigError(where="--eval_batch_tokens", expected="1 or more", found=found, do="raise it")

    def draws(self, shots: int, rows: int) -> list[int]:
        """The seeds that make a difference with so many `shots` of so many `rows`."""
        every = self.demonstrations == "first" or (self.demonstrations == "nearest" and rows <= LOOKED_THROUGH)
        return self.seeds[:1] if shots == 0 or every else self.seeds
