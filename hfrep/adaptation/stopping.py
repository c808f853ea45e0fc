"""Early stopping: training ends when a held-out part has not been predicted better for some time, and the best is kept.

The best weights lie in a file beside the run's checkpoints with the step they are of, so that a resumed run stops where
the uninterrupted one does.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

SCORE = "eval_score"  # what an evaluation is judged by; higher is better


class EarlyStopping:
    """Keeps the best weights of `module` in `file`.

    Args:
        run: what the training is; a file of another one is not looked at.
        patience: evaluations without a better score after which it is enough.
        eval_steps: steps between evaluations.
        writes: whether this process is the one that writes the file.
    """

    def __init__(
        self, module: nn.Module, file: Path, *, run: str, patience: int, eval_steps: int, writes: bool
    ) -> None:
        self.module, self.file, self.run, self.writes = module, file, run, writes
        self.patience, self.eval_steps = patience, eval_steps
        self.best, self.best_step = -float("inf"), 0
        if file.exists():
            with safe_open(file, "pt") as stored:
                facts = stored.metadata()
            if facts["run"] == run:
                self.best, self.best_step = float(facts["score"]), int(facts["step"])

    def enough(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take note of an evaluation, if `metrics` are of one; whether the last `patience` of them brought nothing."""
        score = metrics.get(SCORE, -float("inf"))
        if score > self.best:
            self.best, self.best_step = score, step
            if self.writes:
                self._write()
        # A run that was killed comes by evaluations again that the file knows already.
        return step - self.best_step >= self.patience * self.eval_steps

    def restore(self) -> None:
        """Give `module` its best weights."""
        self.module.load_state_dict(load_file(self.file), strict=False)

    def _write(self) -> None:
        trained = {name for name, parameter in self.module.named_parameters() if parameter.requires_grad}
        state = {
            name: part.detach().cpu().clone() for name, part in self.module.state_dict().items() if name in trained
        }
        aside = self.file.with_name(f".{self.file.name}")
        save_file(state, aside, metadata={"run": self.run, "score": repr(self.best), "step": str(self.best_step)})
        aside.replace(self.file)
