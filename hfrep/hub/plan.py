"""Where a run is going to be pushed: found out, and refused, before anything is made that is to go there."""

from dataclasses import dataclass
from pathlib import Path

from hfrep.errors import HubError
from hfrep.hub.account import Account
from hfrep.hub.contents import kind_of
from hfrep.hub.delivery import require_private
from hfrep.hub.faults import Fault
from hfrep.hub.outbox import Destination, Outbox
from hfrep.hub.settings import RepositorySettings, require_valid


@dataclass(frozen=True)
class Plan:
    """What is going to be done, found out before the work whose results are to be sent.

    Attributes:
        reachable: whether the Hub answered.
    """

    destination: Destination
    reachable: bool

    @classmethod
    def of(cls, settings: RepositorySettings, folder: Path) -> "Plan":
        """What `settings` say of a run in `folder`, and what is known of it from before. Nothing is written.

        Raises:
            HubError: no token, one that is rejected or may not write there, or a public repository where it is to be
                private.
            CheckpointError: something of an earlier run still waits for another repository.
            ConfigError: the folder's name is none for a repository.
        """
        outbox = Outbox(folder)
        before = outbox.destination
        name = settings.hub_model_id or (before.repository if before else folder.resolve().name)
        account = Account.ask()
        destination = Destination(
            account.whole_name(name) if account else name,
            kind_of(folder),
            settings.hub_private_repo if settings.hub_private_repo is not None or not before else before.private,
            language=settings.language or (before.language if before else None),
            license=settings.license or (before.license if before else None),
        )
        outbox.require(destination)
        require_valid(destination.repository)
        if account and destination.private:
            _require_private(destination)
        return cls(destination, account is not None)


def _require_private(destination: Destination) -> None:
    try:
        require_private(destination.repository, destination.kind)
    except HubError:
        raise
    except Exception as error:  # whatever huggingface_hub raises; what passes is met again at the end
        if not (fault := Fault.of(error)).passing:
            raise HubError(
                where=destination.repository, expected="to see whether it is private", found=fault.told, do="try again"
            ) from None
