"""FSDP2: two processes that each hold half of every tensor compute, save and export what one process does.

accelerate shards on GPUs only. Here its state is told, on two CPU processes, that it is to shard; all that follows is
accelerate's and torch's own FSDP2, over gloo.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from conftest import documents
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os, sys
import torch, tiny
from pathlib import Path
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor
from hfrep.data.blocks import Blocks
from hfrep.data.tokenizer import load_tokenizer
from hfrep.evaluation.language_modeling import ValidationSettings, language_modeling_metrics, totals, validation_batches
from hfrep.export import whole

torch.set_num_threads(1)

class Sharded(Accelerator):
    def __init__(self, **given):
        super().__init__(**given)
        PartialState._shared_state["distributed_type"] = self.state.distributed_type = DistributedType.FSDP
        self.state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap", state_dict_type="FULL_STATE_DICT",
            cpu_ram_efficient_loading=False,
        )
        self.prepared = []

    def prepare(self, module, *others):
        self.prepared = super().prepare(module, *others)
        assert all(isinstance(parameter, DTensor) for parameter in self.prepared[0].parameters())
        tiny.accelerator, tiny.trained = self, module
        return self.prepared

tiny.Accelerator = Sharded
folder, blocks, tokenizer, options = sys.argv[1:]
tokenizer, rows = load_tokenizer(tokenizer), Blocks(Path(blocks))

def evaluate(module):
    judged = validation_batches(rows, tiny.trained.collator(), ValidationSettings(), tiny.accelerator)
    name = json.loads(options)["objective"]
    return language_modeling_metrics(totals(module, tiny.trained, judged, tiny.accelerator), name)

try:
    tiny.train(folder, rows, tokenizer, evaluate=evaluate, eval_steps=1, **json.loads(options))
except tiny.Killed:
    os._exit(0)  # as a SIGKILL would: nothing is taken down
model = whole(tiny.trained.kept, tiny.accelerator)
if tiny.accelerator.is_main_process:
    model.save_pretrained(folder + "/model")
tiny.accelerator.wait_for_everyone()
os._exit(0)  # sharded parameters keep gloo's groups alive, whose threads at times abort an interpreter's end
"""

pytestmark = pytest.mark.multiprocess


def run_sharded(tmp_path, folder, rows, tokenizer_folder, **options):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    ended = subprocess.run(
        [*command, str(folder), str(rows.folder), str(tokenizer_folder), json.dumps(options)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.parametrize(
    ("objective", "preset"), [("mlm", "bert-micro"), ("mlm", "modernbert-micro"), ("clm", "gpt2-micro")]
)
def test_shards_are_the_whole(wordpiece, tokenizer_folder, tmp_path, objective, preset):
    """Killed and resumed on two sharding processes: one process's losses, and its weights in the exported folder."""
    rows = tiny.blocks(documents(60), wordpiece, tmp_path, causal=objective == "clm")
    settings = {"steps": 4, "optimizer": "adamw", "save_steps": 2, "preset": preset, "objective": objective}
    _, losses, _ = tiny.train(tmp_path / "one", rows, wordpiece, **settings)
    run_sharded(tmp_path, tmp_path / "two", rows, tokenizer_folder, kill_at=2, **settings)
    run_sharded(tmp_path, tmp_path / "two", rows, tokenizer_folder, **settings)
    assert tiny.losses(tmp_path / "two") == pytest.approx(losses, rel=1e-5)
    evaluations = [
        json.loads(line)["eval_loss"]
        for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
        if "eval_loss" in line
    ]
    assert len(evaluations) == 4
    assert evaluations[-1] < evaluations[0]
    auto_class = AutoModelForMaskedLM if objective == "mlm" else AutoModelForCausalLM
    exported = auto_class.from_pretrained(tmp_path / "two" / "model")
    trained = torch.load(tmp_path / "one" / "checkpoints" / "step-4" / "pytorch_model.bin")
    for name, tensor in exported.state_dict().items():
        torch.testing.assert_close(tensor, trained[f"kept.{name}"], rtol=1e-3, atol=1e-5)
