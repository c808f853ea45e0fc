"""The Hub-format folder of a trained model, and its proof: reopened without hfrep, it computes the same.

The folder is written aside and renamed. Then a fresh process, in which hfrep cannot be imported and no network may be
used, opens it by the snippet in its card and compares what it computes with what the training process computed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from numpy.typing import NDArray
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.card import Card
from hfrep.card.files import read_card, write_card
from hfrep.data.rows import Rows
from hfrep.errors import ProofError

PROBE = "-probe.npz"  # ending of the file that a reopening is compared with
# Of the environment, what a fresh process is given: where programs, caches and libraries are.
PASSED_ON = ("PATH", "HOME", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")
TOLERANCE = 1e-4  # of the largest logit; another thread count sums in another order

REOPEN = """
import json, os, sys
sys.modules["hfrep"] = None
import numpy as np, torch, transformers
transformers.logging.set_verbosity_error()
task = json.load(sys.stdin)
torch.set_num_threads(task["threads"])
for folder, probe in task["cases"]:
    os.chdir(folder)
    probe = np.load(probe)
    inputs = {name: torch.from_numpy(probe[f"input_{name}"]) for name in probe["inputs"].tolist()}
    differences = []
    for usage in probe["usages"].tolist():
        names = {}
        exec(usage, names)
        model = names["model"]
        with torch.inference_mode():
            logits = model(**inputs)
        logits = (logits if torch.is_tensor(logits) else logits.logits).float().numpy()
        if names["tokenizer"](*probe["text"].tolist())["input_ids"] != probe["text_ids"].tolist():
            sys.exit("a tokenizer that gives other ids")
        differences.append(float(np.abs(logits - probe["logits"]).max() / np.abs(probe["logits"]).max()))
    name = type(model).__name__ if isinstance(model, torch.nn.Module) else "a function"
    print(json.dumps([name, float(np.max(differences))]))  # np.max, since max() may pass over NaN
"""


@dataclass(frozen=True)
class Reopening:
    """What a fresh process is to find in a folder.

    Attributes:
        folder: what was exported.
        usages: Python, run in that folder, that makes a ``model`` and a ``tokenizer``: each snippet of the card.
        inputs: arguments of a forward pass.
        logits: float32, what the model computes from them here.
        text: a text, or a pair, that the tokenizer is asked for.
        text_ids: what it gives here.
    """

    folder: Path
    usages: Sequence[str]
    inputs: Mapping[str, NDArray[Any]]
    logits: NDArray[np.float32]
    text: Sequence[str]
    text_ids: Sequence[int]

    def write(self) -> Path:
        """Put it into a file beside the folder, which is there until the proof: a kill in between loses nothing."""
        arrays: dict[str, Any] = {f"input_{name}": part for name, part in self.inputs.items()}
        facts: dict[str, Any] = {"usages": list(self.usages), "inputs": list(self.inputs), "text": list(self.text)}
        file = self.folder.with_name(f".{self.folder.name}{PROBE}")
        np.savez(file, logits=self.logits, text_ids=np.array(self.text_ids), **facts, **arrays)
        return file


@dataclass(frozen=True)
class Reopened:
    """What a fresh process found.

    Attributes:
        folder: what it opened.
        name: of the class it opened it as.
        difference: of the logits, in parts of the largest one.
    """

    folder: Path
    name: str
    difference: float

    def __str__(self) -> str:
        return f"a process without hfrep opens it as {self.name}; logits differ by {self.difference:.1g} of the largest"


def whole(model: PreTrainedModel, accelerator: Accelerator) -> PreTrainedModel:
    """`model` itself, or, where processes hold shards of it, a copy with whole tensors on the main process's CPU.

    Called on every process, since shards are gathered; what other processes than the main one get is of no use.

    Raises:
        ProofError: a tensor is missing among the gathered ones.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return model
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not accelerator.is_main_process:
        return model
    with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten, and a run that resumes does not draw it
        copy: PreTrainedModel = type(model)._from_config(model.config, dtype=torch.float32).eval()
    missing = set(copy.load_state_dict(state, strict=False).missing_keys) - set(copy.all_tied_weights_keys)
    if missing:
        raise ProofError(
            where="gathering the sharded model",
            expected="all its tensors",
            found=f"{len(missing)} missing ({min(missing)} …)",
            do="the last checkpoint has them; report this with the accelerate configuration",
        )
    return copy


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, card: Card) -> None:
    """Write config, safetensors, tokenizer and model card to `folder`, replacing what was there."""
    with written_aside(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        write_card(card, aside)


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` once it is filled; what is filled in part is removed."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def unproved(folder: Path) -> list[Path]:
    """The probes below `folder` of what was exported and not reopened yet."""
    return sorted(folder.rglob(f".*{PROBE}"))


def prove_reload(probes: Sequence[Path]) -> list[Reopened]:
    """Reopen what the `probes` are of in one fresh process, and compare what is computed there with what was here.

    What is shown of a folder is put into its card, and then its probe is removed.

    Raises:
        ProofError: one does not open, or computes something else.
    """
    if not probes:
        return []
    folders = [probe.with_name(probe.name.removeprefix(".").removesuffix(PROBE)) for probe in probes]
    cases = [(str(folder.resolve()), str(probe.resolve())) for folder, probe in zip(folders, probes, strict=True)]
    # Not in the run's folder or the repository: what lies there must not help. Launcher variables must not leak in.
    environment = {name: value for name, value in os.environ.items() if name in PASSED_ON}
    run = subprocess.run(
        [sys.executable, "-P", "-c", REOPEN],
        input=json.dumps({"threads": torch.get_num_threads(), "cases": cases}),
        env=environment | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    opened = [Reopened(folder, *line) for folder, line in zip(folders, lines, strict=False)]
    for one, probe in zip(opened, probes, strict=False):
        if not one.difference <= TOLERANCE:
            raise _not_proved(one.folder, f"logits that differ by {one.difference:.2g} of the largest")
        write_card(read_card(one.folder).proved(str(one)), one.folder)
        probe.unlink()
    if len(opened) < len(folders):
        last = (run.stderr.strip().splitlines() or ["a process that ended"])[-1]
        raise _not_proved(folders[len(opened)], last)
    return opened


def _not_proved(folder: Path, found: str) -> ProofError:
    return ProofError(
        where=str(folder),
        expected="a process without hfrep to open it as its card says and compute the same",
        found=found,
        do="keep the checkpoints, which hold the weights, and report this",
    )


def reopening(
    folder: Path, card: Card, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Rows
) -> Reopening:
    """What `model` computes from two of the packed `rows`, for a fresh process to compute too."""
    input_ids = rows.take(np.arange(min(2, len(rows))))["input_ids"]
    text = tokenizer.decode(input_ids[0], skip_special_tokens=True)
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(input_ids).to(model.device)).logits.float().cpu().numpy()
    return Reopening(folder, card.snippets(), {"input_ids": input_ids}, logits, [text], tokenizer(text)["input_ids"])
