"""Where on the Hub the base model of an adapter or a head stands, if it was trained on this machine."""

from pathlib import Path

from hfrep.errors import ConfigError
from hfrep.fetching import HubName
from hfrep.hub.outbox import MAIN, Outbox, push_command
from hfrep.models.base_weights import Weights
from hfrep.models.named import is_whole


def on_hub(folder: Path, digest: str | None) -> HubName | None:
    """The model in the `folder` of a run that was pushed, at its commit; None where its weights have not arrived.

    Args:
        digest: of the weights that are meant: another training may have put others there since.
    """
    destination = Outbox(folder.parent).destination
    if destination is None or MAIN not in destination.arrived or destination.weights != digest:
        return None
    return HubName(destination.repository, revision=destination.arrived[MAIN])


def require_on_hub(name: str) -> None:
    """Check that others can load the model called `name`, before anything is trained that is of no use without it.

    Raises:
        ConfigError: it is a folder whose weights have not arrived at the Hub, or an adapter.
    """
    if not is_whole(name):
        raise ConfigError(
            where=f"the base model {name}",
            expected="a whole model, so that what is pushed opens elsewhere",
            found="an adapter, which is merged into its base on this machine only",
            do="merge it with recipes/merge.py, push that, and give it as --model_name_or_path",
        )
    folder = Path(name)
    if folder.is_dir() and on_hub(folder, Weights.of(folder).digest) is None:
        raise not_on_hub(f"the base model {name}", folder)


def not_on_hub(where: str, base: Path | None) -> ConfigError:
    """That the folder `base`, on which something hangs that is to be pushed, has not been pushed itself."""
    run_folder = Path("RUN") if base is None else base.parent
    return ConfigError(
        where=where,
        expected="a base model that stands on the Hub, so that what is pushed opens elsewhere",
        found="one of this machine" if base is None else f"the folder {base}",
        do=f"push it first: {push_command(run_folder)} --hub_model_id NAME",
    )
