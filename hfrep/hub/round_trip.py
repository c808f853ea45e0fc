"""The whole way to the Hub and back, with the user's own account: made, pushed, opened elsewhere, compared, removed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants
from transformers import BertConfig, BertForMaskedLM

from hfrep.errors import HubError, ProofError
from hfrep.hub.account import TOKEN_ADVICE, Account
from hfrep.hub.faults import Fault

BRANCH = "step-1"
SHAPE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 16}
OPEN = """
import json, sys
import torch
from transformers import AutoModelForMaskedLM
name, revision = sys.argv[1:]
model = AutoModelForMaskedLM.from_pretrained(name, revision=revision).eval()
with torch.inference_mode():
    print(json.dumps(model(torch.arange(16)[None]).logits.flatten().tolist()))
"""


def check_round_trip(name: str) -> None:
    """Make the private repository `name`, push a tiny model to a branch of it, open it in a fresh process with an empty
    cache, compare what it computes, and remove the repository. Prints each step.

    Raises:
        HubError: a step is refused or fails, or there is such a repository already.
        ProofError: what is opened computes something else.
    """
    account = Account.ask()
    if account is None:
        raise _failed(name, "asking whose the token is", "no answer", "try again when there is a network")
    name, api = account.whole_name(name), HfApi()
    try:
        api.create_repo(name, private=True)
    except Exception as error:  # whatever huggingface_hub raises; told by its kind
        raise _failed(name, "making it", Fault.of(error).told, "give a name that is not taken") from None
    print(f"made       {name}, private, as {account.namespaces[0]}", flush=True)
    try:
        _there_and_back(api, name)
    finally:
        _remove(api, name)


def _remove(api: HfApi, name: str) -> None:
    try:
        api.delete_repo(name, missing_ok=True)
    except Exception as error:  # what was found out counts; that it could not be tidied up is told
        told = Fault.of(error).told
        print(f"not removed {name} ({told}): remove it yourself at {constants.ENDPOINT}/{name}/settings", flush=True)
    else:
        print(f"removed    {name}", flush=True)


def _there_and_back(api: HfApi, name: str) -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SHAPE)).eval()
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            api.create_branch(name, branch=BRANCH)
            commit = api.upload_folder(repo_id=name, folder_path=folder, revision=BRANCH)
    except Exception as error:
        raise _failed(name, "pushing to it", Fault.of(error).told, TOKEN_ADVICE) from None
    print(f"pushed     a model of {model.num_parameters():,} parameters, {commit.oid[:12]}", flush=True)
    with torch.inference_mode():
        here = model(torch.arange(16)[None]).logits.flatten()
    difference = float((torch.tensor(_opened(name)) - here).abs().max())
    if not difference <= 1e-5 * float(here.abs().max()):
        raise ProofError(
            where=name,
            expected="the logits that the model has here",
            found=f"others, by {difference:.2g}",
            do="report this",
        )
    print(f"opened     in a process with an empty cache; logits differ by {difference:.1g}", flush=True)


def _opened(name: str) -> list[float]:
    """The logits that a fresh process gets."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "HF_HUB_CACHE": str(Path(cache))}
        run = subprocess.run(
            [sys.executable, "-c", OPEN, name, BRANCH], env=environment, capture_output=True, text=True, check=False
        )
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["nothing"])[-1]
        raise _failed(name, "opening what was pushed", last, "see whether the token may read, too")
    logits: list[float] = json.loads(run.stdout.splitlines()[-1])
    return logits


def _failed(name: str, step: str, found: str, do: str) -> HubError:
    return HubError(where=f"{name}, {step}", expected="it to work", found=found, do=do)
