"""What a training recipe does with the Hub: nothing, where it is not asked to.

    uploads = Uploads.open(hub, folder, accelerator)      # asks whose the token is
    with uploads, run.writing():
        run.train(…, on_saved=uploads.on_saved(model, tokenizer, …))
        …                                                 # what the run leaves is written and proved

At the end of the ``with`` all that the run leaves is put into the outbox and sent. Training waits for none of it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.errors import HfrepError
from hfrep.export import whole
from hfrep.hub.account import Account
from hfrep.hub.contents import finished, kind_of, stage_run
from hfrep.hub.courier import Courier
from hfrep.hub.delivery import deliver
from hfrep.hub.outbox import Destination, Outbox
from hfrep.hub.settings import PushSettings, RepositorySettings, Revisions
from hfrep.hub.staging import About, stage_checkpoint
from hfrep.hub.told import tell_outcome, tell_plan, tell_waiting
from hfrep.training.checkpoint import locked
from hfrep.training.launch import on_main


def destination_of(settings: RepositorySettings, folder: Path) -> Destination:
    """The repository that `settings` name for a run in `folder`, with its namespace where the Hub can be asked.

    Raises:
        HubError: no token, one that is rejected or may not write there.
    """
    before = Outbox(folder).destination
    name = settings.hub_model_id or (before.repository if before else folder.resolve().name)
    account = Account.ask()
    return Destination(
        account.whole_name(name) if account else name,
        kind_of(folder),
        settings.hub_private_repo,
        language=settings.language or (before.language if before else None),
        license=settings.license or (before.license if before else None),
    )


def push(folder: Path, settings: RepositorySettings, *, strict: bool) -> None:
    """Send what has been made in `folder`, if it is finished, and what waits of it.

    Raises:
        CheckpointError: a run is going on there in another process.
        HubError: no token, or one that may not write there.
        UndeliveredError: something did not arrive, and that is to count as failed.
    """
    destination, outbox = destination_of(settings, folder), Outbox(folder)
    with locked(folder):
        outbox.address(destination)
        if finished(folder):
            stage_run(folder, outbox)
        courier = Courier(outbox, partial(deliver, outbox))
        courier.start()
        tell_outcome(outbox, courier.finish(settings.hub_patience), strict=strict)


class Uploads:
    """All that one run sends. Only the main process sends; a destination of None is where nothing is to be sent."""

    def __init__(
        self, settings: PushSettings, folder: Path, accelerator: Accelerator, destination: Destination | None
    ) -> None:
        self.settings, self.folder, self.accelerator, self.destination = settings, folder, accelerator, destination
        self.outbox = Outbox(folder)
        self.courier = Courier(self.outbox, partial(deliver, self.outbox))

    @classmethod
    def open(cls, settings: PushSettings, output_dir: str, accelerator: Accelerator) -> "Uploads":
        """Check, on the main process, that the token may write where the run is to go.

        Where the Hub cannot be reached now, that is told, and the run goes on: its uploads wait.

        Raises:
            HubError: it may not; on every process.
            CheckpointError: something of an earlier run still waits for another repository.
        """
        folder, found = Path(output_dir), []

        def check() -> None:
            destination = destination_of(settings, folder)
            if Outbox(folder).destination is not None:
                Outbox(folder).address(destination)
            found.append(destination)
            tell_plan(folder, destination)

        if settings.push_to_hub:
            on_main(accelerator, check)
        return cls(settings, folder, accelerator, found[0] if found else None)

    def on_saved(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, revisions: Revisions
    ) -> Sequence[Callable[[Path], None]]:
        """What a run calls at each checkpoint: the model as it is then is put into the outbox, for a branch."""
        if not self.settings.push_to_hub or revisions == "none":
            return ()

        return (lambda checkpoint: self._put(checkpoint.name, whole(model, self.accelerator), tokenizer),)

    def _put(self, branch: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        if self.destination is None:
            return
        name, step = self.destination.repository, int(branch.removeprefix("step-"))
        about = About(self.destination.language, self.destination.license)
        try:
            self.outbox.address(self.destination)
            with self.outbox.filling(branch) as target:
                stage_checkpoint(self.folder, model, tokenizer, target, repository=name, step=step, about=about)
        except (OSError, HfrepError) as error:  # a disk without room, say: the run needs it more
            print(f"hub        {branch} is not sent: {error}", flush=True)
        self.courier.wake()

    def __enter__(self) -> "Uploads":
        if self.destination is not None:
            self.courier.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what the run leaves.

        Raises:
            UndeliveredError: something did not arrive, and ``--hub_strict`` was asked for.
            ConfigError: the base model of an adapter is on no Hub.
        """
        if self.destination is None or kind is not None:
            return
        if not finished(self.folder):
            tell_waiting(self.outbox)
            return
        with locked(self.folder):
            self.outbox.address(self.destination)
            stage_run(self.folder, self.outbox)
            self.courier.wake()
            undelivered = self.courier.finish(self.settings.hub_patience)
        tell_outcome(self.outbox, undelivered, strict=self.settings.hub_strict)
