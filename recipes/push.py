"""Push what a run left to the Hub, or what has not arrived yet of a run that was pushed.

    python recipes/push.py runs/mlm --hub_model_id me/tiny
    python recipes/push.py runs/mlm                            # the rest of what --push_to_hub did not get through
    python recipes/push.py --check me/round-trip               # does all of it work with my account?

What is on the Hub already is not sent again, so the same command may be given as often as one likes. It exits with
status 3 where something did not arrive. The token comes from `hf auth login` or HF_TOKEN.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.hub.contents import finished
from hfrep.hub.outbox import Outbox
from hfrep.hub.plan import Plan
from hfrep.hub.round_trip import check_round_trip
from hfrep.hub.sending import push
from hfrep.hub.settings import RepositorySettings
from hfrep.settings import parse, setting
from hfrep.training.launch import quiet_libraries


@dataclass(frozen=True, kw_only=True)
class WhatSettings:
    run_folder: str | None = setting(None, "folder of the run; may stand first without its name", kind="operation")
    check: str | None = setting(
        None,
        "org/name of a repository that is not there: make it, push a tiny model, open it elsewhere, remove it again",
        kind="operation",
    )

    def __post_init__(self) -> None:
        if (self.run_folder is None) == (self.check is None):
            raise ConfigError(
                where="recipes/push.py",
                expected="the folder of a run, or --check org/name",
                found="neither" if self.check is None else "both",
                do="give one of them",
            )


GROUPS = (WhatSettings, RepositorySettings)
POSITIONAL = "run_folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    what, repository = parse(*GROUPS, argv=argv, description=__doc__, positional=POSITIONAL)
    quiet_libraries()
    if what.check is not None:
        check_round_trip(what.check)
        return 0
    folder = Path(what.run_folder)
    if not finished(folder) and not Outbox(folder).waiting():
        raise ConfigError(
            where=str(folder),
            expected="the folder of a run that has ended, or that left something for the Hub",
            found="neither" if folder.is_dir() else "no such folder",
            do="name the --output_dir of the run, or finish it by its own command",
        )
    push(folder, repository, Plan.of(repository, folder), strict=True)
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
