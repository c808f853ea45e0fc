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
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.export import whole
from hfrep.hub.contents import finished
from hfrep.hub.courier import Courier
from hfrep.hub.delivery import deliver
from hfrep.hub.outbox import Outbox
from hfrep.hub.plan import Plan
from hfrep.hub.sending import send
from hfrep.hub.settings import PushSettings, Revisions
from hfrep.hub.staging import About, stage_checkpoint
from hfrep.hub.told import tell_plan, tell_waiting
from hfrep.models.stored import reason
from hfrep.training.checkpoint import require_room, state_bytes
from hfrep.training.launch import on_main


class Uploads:
    """All that one run sends. Only the main process sends; a plan of None is where nothing is to be sent."""

    def __init__(self, settings: PushSettings, folder: Path, accelerator: Accelerator, plan: Plan | None) -> None:
        self.settings, self.folder, self.accelerator = settings, folder, accelerator
        self.destination = plan.destination if plan else None
        self.outbox = Outbox(folder)
        self.courier = Courier(self.outbox, partial(deliver, self.outbox))

    @classmethod
    def open(cls, settings: PushSettings, output_dir: str, accelerator: Accelerator) -> "Uploads":
        """Check, on the main process, that the token may write where the run is to go.

        Where the Hub cannot be reached now, that is told, and the run goes on: its uploads wait.

        Raises:
            HfrepError: see `Plan.of`; on every process.
        """
        folder, found = Path(output_dir), []

        def check() -> None:
            plan = Plan.of(settings, folder)
            tell_plan(Outbox(folder), plan.destination, reachable=plan.reachable)
            found.append(plan)

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
        name, about = self.destination.repository, About(self.destination.language, self.destination.license)
        try:
            step = int(branch.removeprefix("step-"))
            require_room(self.folder, state_bytes(model))  # the next checkpoint needs it more
            self.outbox.address(self.destination)
            with self.outbox.filling(branch) as target:
                stage_checkpoint(self.folder, model, tokenizer, target, repository=name, step=step, about=about)
        except Exception as error:  # of whatever library: none may end the run
            print(f"hub        {branch} is not sent: {reason(error)}", flush=True)
        self.courier.wake(branch)

    def __enter__(self) -> "Uploads":
        # Nothing is sent yet: that the folder is this run's alone is known only once the run holds its lock.
        if self.destination is not None:
            disable_progress_bars()  # they would be drawn across that of the training
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what the run leaves.

        Raises:
            UndeliveredError: something did not arrive, and ``--hub_strict`` was asked for.
            ConfigError: the base model of an adapter is on no Hub.
        """
        if self.destination is None:
            return
        if kind is None and finished(self.folder):
            send(self.outbox, self.courier, self.destination, self.settings, strict=self.settings.hub_strict)
        else:
            tell_waiting(self.outbox)
