"""The Hub-format folder of a trained model, and its proof: reopened without hfrep, it computes the same.

The folder is written aside and renamed. Then a fresh process, in which hfrep cannot be imported and no network may be
used, opens it by its auto class and compares what it computes with what the training process computed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.rows import Rows
from hfrep.errors import ProofError

TOLERANCE = 1e-4  # of the largest logit; another thread count sums in another order

REOPEN = """
import sys
sys.modules["hfrep"] = None
import numpy as np, torch, transformers
folder, auto_class, probe = sys.argv[1:]
probe = np.load(probe)
torch.set_num_threads(int(probe["threads"]))
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = getattr(transformers, auto_class).from_pretrained(folder, dtype=torch.float32).eval()
with torch.inference_mode():
    logits = model(torch.from_numpy(probe["input_ids"])).logits.numpy()
ids = tokenizer(str(probe["text"]))["input_ids"]
if ids != probe["text_ids"].tolist():
    sys.exit("the tokenizer gives other ids")
print(float(np.abs(logits - probe["logits"]).max() / np.abs(probe["logits"]).max()))
"""


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


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, card: str) -> None:
    """Write config, safetensors, tokenizer and model card to `folder`, replacing what was there."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    (aside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def prove_reload(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, auto_class: str, rows: Rows
) -> str:
    """Reopen `folder` in a fresh process and compare what it computes on two of `rows` with what `model` does here.

    Returns:
        what was shown, as a sentence.

    Raises:
        ProofError: it does not open, or computes something else.
    """
    input_ids = rows.take(np.arange(min(2, len(rows))))["input_ids"]
    text = tokenizer.decode(input_ids[0], skip_special_tokens=True)
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(input_ids).to(model.device)).logits.float().cpu().numpy()
    probe = folder.with_name(f".{folder.name}-probe.npz")
    threads, text_ids = torch.get_num_threads(), tokenizer(text)["input_ids"]
    np.savez(probe, input_ids=input_ids, logits=logits, text=text, text_ids=text_ids, threads=threads)
    try:
        # Not in the run's folder or the repository: what lies there must not help. Launcher variables must not leak in.
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
        run = subprocess.run(
            [sys.executable, "-c", REOPEN, str(folder.resolve()), auto_class, str(probe.resolve())],
            env=environment | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        probe.unlink(missing_ok=True)
    difference = float(run.stdout.split()[-1]) if run.returncode == 0 else float("nan")
    if not difference <= TOLERANCE:
        problem = (run.stderr.strip().splitlines() or [f"logits that differ by {difference:.2g}"])[-1]
        raise ProofError(
            where=str(folder),
            expected=f"{auto_class} to open it without hfrep and compute the same",
            found=problem,
            do="keep the checkpoints, which hold the weights, and report this",
        )
    return f"a process without hfrep opens it as {auto_class}; logits differ by {difference:.1g} of the largest"
