"""Processes: how many run, how many threads each takes, and what of the libraries' noise reaches the user."""

import atexit
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import transformers
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, TorchDynamoPlugin, gather_object

from hfrep.errors import ConfigError, HfrepError
from hfrep.settings import setting
from hfrep.training.checkpoint import require_ours


@dataclass(frozen=True, kw_only=True)
class ThreadSettings:
    cpu_threads: int | None = setting(
        None, "threads of each process; default: physical cores divided by local processes", kind="operation"
    )

    def __post_init__(self) -> None:
        _require_one_or_more("cpu_threads", self.cpu_threads)

    def apply(self, device: torch.device) -> None:
        """Set torch's threads, where the work is done on the CPU."""
        # `accelerate launch` sets OMP_NUM_THREADS=1 on a CPU machine, which would leave all cores but one idle.
        if device.type == "cpu":
            torch.set_num_threads(self.cpu_threads or max(1, usable_cores() // local_processes()))


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(ThreadSettings):
    expect_processes: int | None = setting(
        None, "stop unless this many processes run; catches a launcher that silently starts one", kind="operation"
    )
    # Part of a run's identity as what it comes to: see `hfrep.training.run`.
    mixed_precision: str | None = setting(
        None, "no, fp16 or bf16; default: as the launcher is configured, or no", kind="operation"
    )
    torch_compile: bool = setting(False, "compile the model with torch.compile", kind="operation")
    dry_run: bool = setting(
        False, "print settings, parameters, tokens and a memory estimate, and stop", kind="operation"
    )
    report_to: list[str] = setting(
        ["none"], "trackers of accelerate: tensorboard, wandb …; none or all", kind="operation"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_one_or_more("expect_processes", self.expect_processes)
        if self.mixed_precision not in (None, "no", "fp16", "bf16"):
            raise ConfigError(
                where="mixed_precision", expected="no, fp16 or bf16", found=self.mixed_precision, do="give one of them"
            )


@dataclass(frozen=True, kw_only=True)
class LaunchSettings(ProcessSettings):
    seed: int = setting(0, "of initial weights, order of rows, masks and dropout")
    profile: bool = setting(
        False, "train a few steps, print where the time of one goes by operator, and stop", kind="operation"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 1 << 63:
            raise ConfigError(where="seed", expected="0 or more, below 2^63", found=str(self.seed), do="give another")


def quiet_libraries() -> None:
    """Keep what no user can act on from being printed: fork warnings, deprecations, progress bars of libraries."""
    # Set at all, it stops the tokenizers library from warning in each forked loader worker.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    transformers.logging.disable_progress_bar()
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(torch|transformers|accelerate|datasets)\b")


def start(settings: ProcessSettings, output_dir: str) -> Accelerator:
    """The accelerator of this process, with its threads set, and seeded where there is one seed.

    Raises:
        ConfigError: the launcher meant another number of processes than run.
        CheckpointError: `output_dir` holds something and is not a run's.
    """
    quiet_libraries()
    if Path(output_dir).is_dir():
        require_ours(Path(output_dir))
    trackers = [name for name in settings.report_to if name != "none"]
    try:
        accelerator = Accelerator(
            mixed_precision=settings.mixed_precision,  # where None, accelerate reads its own environment
            log_with=trackers or None,
            project_dir=output_dir,
            dynamo_plugin=TorchDynamoPlugin(backend="inductor") if settings.torch_compile else None,
            step_scheduler_with_optimizer=False,
        )
    except ValueError as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            where="--report_to", expected="trackers that accelerate knows", found=found, do="correct the setting"
        ) from None
    atexit.register(leave_process_group)
    accelerator.gradient_accumulation_steps = 1  # the environment may say another; the loop divides by itself
    missing = set(trackers) - {"all"} - {str(one) for one in accelerator.log_with}
    if missing:
        raise ConfigError(
            where="--report_to",
            expected="trackers that are installed",
            found=", ".join(sorted(missing)),
            do="install it or leave it out",
        )
    _refuse_missing_processes(accelerator, settings)
    _refuse_other_sharding(accelerator)
    _refuse_wrapped_recomputation(accelerator)
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would ignore it
        raise ConfigError(
            where="mixed precision", expected="no or bf16 on a CPU", found="fp16", do="give --mixed_precision bf16"
        )
    settings.apply(accelerator.device)
    if isinstance(settings, LaunchSettings):
        torch.manual_seed(settings.seed)
    return accelerator


def on_main(accelerator: Accelerator, act: Callable[[], object]) -> None:
    """Let the main process `act`; what it may not, no process may.

    Raises:
        HfrepError: the main process's, on every process.
    """
    problem: HfrepError | None = None
    if accelerator.is_main_process:
        try:
            act()
        except HfrepError as error:
            problem = error
    problem = gather_object([problem])[0]
    if problem is not None:
        raise problem


def leave_process_group() -> None:
    """To be done before a process ends: gloo's threads, still running at exit, would at times abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def describe_device(accelerator: Accelerator) -> str:
    """What a run computes on: device, processes, threads of each, precision."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    number = torch.get_num_threads()
    threads = f", {number} thread{'s' if number > 1 else ''} each" if device.type == "cpu" else ""
    precision = {"no": "float32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    number = accelerator.num_processes
    return f"{name}, {number} process{'es' if number > 1 else ''}{threads}, {precision}"


def start_alone(settings: ThreadSettings) -> torch.device:
    """The device of a recipe that runs in one process and trains nothing, with the threads set.

    Raises:
        ConfigError: several processes were launched, which would all do the same.
    """
    quiet_libraries()
    state = PartialState()
    if state.num_processes > 1:
        found = str(state.num_processes)
        raise ConfigError(where="the launcher", expected="one process", found=found, do="start it with python")
    settings.apply(state.device)
    device: torch.device = state.device
    return device


def usable_cores() -> int:
    """Physical cores this process may run on."""
    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return max(1, min(physical, allowed))


def local_processes() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _refuse_other_sharding(accelerator: Accelerator) -> None:
    """DeepSpeed's engine steps the optimizer by itself in the backward pass; FSDP1 flattens parameters."""
    kind = accelerator.distributed_type
    if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM) or (
        kind == DistributedType.FSDP and not accelerator.is_fsdp2
    ):
        raise ConfigError(
            where="accelerate's configuration",
            expected="one process, data parallelism, or FSDP2",
            found="FSDP1" if kind == DistributedType.FSDP else kind.value,
            do="shard with recipes/configs/fsdp2.yaml (fsdp_version: 2)",
        )


def _refuse_wrapped_recomputation(accelerator: Accelerator) -> None:
    """Accelerate wraps all layers to be computed again, also the last, of which some positions are chosen only once."""
    plugin = accelerator.state.fsdp_plugin if accelerator.distributed_type == DistributedType.FSDP else None
    if plugin is not None and plugin.activation_checkpointing:
        raise ConfigError(
            where="accelerate's configuration",
            expected="fsdp_activation_checkpointing: false",
            found="true",
            do="give --gradient_checkpointing, which computes all layers but the last again",
        )


def _require_one_or_more(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(where=name, expected="1 or more", found=str(value), do="raise it")


def _refuse_missing_processes(accelerator: Accelerator, settings: ProcessSettings) -> None:
    running = accelerator.num_processes
    meant = str(settings.expect_processes or os.environ.get("WORLD_SIZE") or _meant_by_accelerate(running))
    if str(running) == meant:
        return
    raise ConfigError(
        where="the launcher",
        expected=f"{meant} processes that train together",
        found=f"{running}",
        do="on CPUs start N of them with: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N …"
        + ("" if settings.expect_processes else " (or say --expect_processes 1 if one is meant)"),
    )


def _meant_by_accelerate(running: int) -> int | str:
    """`accelerate launch --cpu --num_processes 2` starts one process and all that tells is where it would meet others.

    Only for several processes does the launcher name a meeting point, which torch's launchers name with WORLD_SIZE.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    return "several" if launched and "MASTER_ADDR" in os.environ else running
