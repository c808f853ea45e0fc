"""What a recipe is told of the Hub. The token is none of it: it comes from ``hf auth login`` or ``HF_TOKEN``."""

from dataclasses import dataclass
from typing import Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from hfrep.errors import ConfigError
from hfrep.models.stored import reason
from hfrep.settings import setting

Revisions = Literal["none", "every_save"]


def require_valid(name: str) -> None:
    """Check that the Hub takes `name` for a repository.

    Raises:
        ConfigError: it does not.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(
            where="--hub_model_id", expected="a name that the Hub takes", found=reason(error), do="give another"
        ) from None


@dataclass(frozen=True, kw_only=True)
class RepositorySettings:
    hub_model_id: str | None = setting(
        None,
        "repository on the Hub, org/name or a name of your own; default: that of the output folder",
        kind="operation",
    )
    hub_private_repo: bool | None = setting(
        None, "make a new repository private; default: as your account says", kind="operation"
    )
    hub_patience: float = setting(
        60.0, "seconds to go on at the end with uploads that fail in passing", kind="operation"
    )
    language: list[str] | None = setting(None, "ISO codes of the languages of the text, for the card", kind="operation")
    license: str | None = setting(None, "of the model, as the Hub names it, for the card", kind="operation")

    def __post_init__(self) -> None:
        if self.hub_model_id is not None:
            require_valid(self.hub_model_id)
        if self.hub_patience < 0:
            raise ConfigError(
                where="--hub_patience", expected="0 seconds or more", found=f"{self.hub_patience:g}", do="raise it"
            )


@dataclass(frozen=True, kw_only=True)
class PushSettings(RepositorySettings):
    push_to_hub: bool = setting(False, "push what comes out to the Hub", kind="operation")
    hub_strict: bool = setting(False, "exit with status 3 where something did not arrive at the Hub", kind="operation")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self._of_pushing().items():
            if value and not self.push_to_hub:
                raise ConfigError(
                    where=f"--{name}",
                    expected="--push_to_hub beside it",
                    found="none",
                    do="add --push_to_hub, or leave it out",
                )

    def _of_pushing(self) -> dict[str, object]:
        """The settings that say nothing unless something is pushed."""
        return {"hub_model_id": self.hub_model_id, "hub_strict": self.hub_strict}


@dataclass(frozen=True, kw_only=True)
class HubSettings(PushSettings):
    hub_revisions: Revisions = setting(
        "none", "every_save: the model at each checkpoint too, as branch step-N", kind="operation"
    )

    def _of_pushing(self) -> dict[str, object]:
        return super()._of_pushing() | {"hub_revisions": self.hub_revisions != "none"}
