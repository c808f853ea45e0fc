"""Runs that are pushed, to a Hub on this machine: what arrives, what goes wrong, and what it costs the run."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import RECIPES
from hub import TOKEN
from tasks_on_disk import write_model, write_task

from hfrep.hub.outbox import Outbox

TESTS = Path(__file__).parents[1]
STEPS = ("--max_steps", 6, "--save_steps", 3)


@pytest.fixture
def home(tmp_path):
    """A cache of the Hub that is empty."""
    return tmp_path / "home"


def start(hub, home, name, *flags, token=TOKEN):
    """``python recipes/<name>.py``, begun."""
    command = [sys.executable, str(RECIPES / f"{name}.py"), *map(str, flags)]
    return subprocess.Popen(
        command, env=hub.environment(home, token), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(hub, home, name, *flags, token=TOKEN, status=0):
    """The same, to its end: what it printed."""
    process = start(hub, home, name, *flags, token=token)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, out + err
    return out + err


@pytest.fixture(scope="module")
def pushed(hub, tiny_mlm, tmp_path_factory):
    """A run that was pushed as me/tiny, with its steps: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("pushed")
    told = run(
        hub,
        folder / "home",
        "mlm",
        *tiny_mlm,
        *STEPS,
        *("--output_dir", folder / "mlm", "--push_to_hub", "--hub_model_id", "me/tiny"),
        *("--hub_revisions", "every_save", "--language", "en", "--license", "apache-2.0"),
    )
    return folder / "mlm", told


OPEN = """
import json, os, sys
sys.modules["hfrep"] = None
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForMaskedLM, AutoTokenizer
with torch.inference_mode():
    text = AutoTokenizer.from_pretrained("me/tiny")("the small house", return_tensors="pt")
    found = [
        AutoModelForMaskedLM.from_pretrained("me/tiny", **revision).eval()(**text).logits.flatten().tolist()
        for revision in ({}, {"revision": "step-3"}, {"revision": "step-6"})
    ]
card = ModelCard.load("me/tiny")
card.validate()
names = {}
exec(card.text.split("```python")[1].split("```")[0], names)
print(json.dumps([found, card.data.to_dict(), type(names["model"]).__name__]))
"""


def test_what_was_pushed_opens_elsewhere(hub, pushed, home):
    """Model, tokenizer, steps and card's snippet, in a process without hfrep and with an empty cache."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder, told = pushed
    assert f"pushed     {hub.url}/me/tiny at " in told
    (main, third, sixth), card, opened = json.loads(hub.python(OPEN, home, token=None).stdout)
    text = AutoTokenizer.from_pretrained(folder / "model")("the small house", return_tensors="pt")
    with torch.inference_mode():
        here = AutoModelForMaskedLM.from_pretrained(folder / "model").eval()(**text).logits.flatten()
    torch.testing.assert_close(torch.tensor(main), here)
    assert main == sixth != third
    assert opened == "BertForMaskedLM"
    assert card["license"] == "apache-2.0"
    assert card["language"] == ["en"]
    (results,) = (one["results"] for one in card["model-index"])
    assert {metric["type"] for one in results for metric in one["metrics"]} >= {"perplexity", "accuracy"}


def test_all_of_a_run_arrives_in_one_commit(hub, pushed):
    """Weights, tokenizer, card, record, metrics and plot; nothing waits any more."""
    folder, _ = pushed
    files = set(hub.files("me/tiny"))
    assert files >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert files >= {"README.md", "run.json", "metrics.jsonl", "loss.png"}
    assert len(hub.commits("me/tiny")) == 2  # the first one is the Hub's own
    assert set(hub.refs("me/tiny")["branches"]) == {"main", "step-3", "step-6"}
    assert Outbox(folder).waiting() == []


def test_no_file_and_no_line_tells_the_token(hub, pushed):
    """Neither what the run leaves, nor what it prints, nor what stands on the Hub."""
    folder, told = pushed
    assert TOKEN not in told
    for file in folder.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file
    for file in hub.files("me/tiny"):
        assert TOKEN.encode() not in hub.read("me/tiny", file), file


def test_pushed_again_nothing_changes(hub, pushed, home):
    """Idempotent: no commit is made where the Hub has all."""
    folder, _ = pushed
    before = hub.commits("me/tiny")
    told = run(hub, home, "push", folder)
    assert f"pushed     {hub.url}/me/tiny at {before[0]['id'][:12]} and 2 branches of steps" in told
    assert hub.commits("me/tiny") == before


FAULTS = """
import contextlib, io, json, os, sys
from pathlib import Path
from hfrep.errors import HfrepError
from hfrep.hub.outbox import Outbox
from hfrep.hub.plan import Plan
from hfrep.hub.sending import push
from hfrep.hub.settings import RepositorySettings
from hub.client import LocalHub
hub, folder, table, found = LocalHub(os.environ["HF_ENDPOINT"]), Path(sys.argv[1]), json.loads(sys.argv[2]), {}
(folder / "outbox" / "repository.json").unlink()
for name, faults in table.items():
    for fault in faults:
        hub.fail(**fault)
    try:
        settings = RepositorySettings(hub_model_id=f"me/{name}", hub_patience=20 if name in sys.argv[3:] else 0)
        push(folder, settings, Plan.of(settings, folder), strict=True)
        found[name] = "arrived"
    except HfrepError as error:
        found[name] = [type(error).__name__, str(error)]
    waiting = Outbox(folder).waiting()
    hub.clear_faults()
    if waiting:
        push(folder, settings, Plan.of(settings, folder), strict=True)
    found[name] = [found[name], waiting, sorted(hub.files(f"me/{name}"))]
print(json.dumps(found))
"""
COMMIT, LFS = r"/commit/", r"/info/lfs|/lfs/"
PASSING = {
    "server-error": [{"method": "POST", "path": COMMIT, "status": 500, "times": 2}],
    "unavailable": [{"method": "POST", "path": "preupload", "status": 503, "times": 1}],
    "rate-limit": [{"method": "POST", "path": COMMIT, "status": 429, "retry_after": 1}],
    "conflict": [{"method": "POST", "path": COMMIT, "status": 412}],
    "broken-commit": [{"method": "POST", "path": COMMIT, "drop_after": 100}],
    "broken-upload": [{"method": "PUT", "path": "", "drop_after": 2000}],
    "lost-answer": [{"method": "POST", "path": COMMIT, "status": 502, "after": True}],
    "slow": [{"method": "PUT", "path": "", "slow": 0.05}],
}
LASTING = {
    "expired": [{"method": ".*", "path": "preupload|commit", "status": 401, "times": None}],
    "forbidden": [{"method": "POST", "path": "repos/create", "status": 403, "times": None}],
    "down": [{"method": "POST", "path": COMMIT, "status": 503, "times": None}],
}


def test_faults_on_the_way(hub, pushed, tmp_path, home):
    """What passes is overcome; what lasts is told with the command that sends the rest, and loses nothing."""
    folder = tmp_path / "mlm"
    shutil.copytree(pushed[0], folder)
    environment = hub.environment(home) | {"PYTHONPATH": str(TESTS)}
    table = json.dumps(PASSING | LASTING)
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, str(folder), table, *PASSING],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in PASSING:
        assert found[name][:2] == ["arrived", []], name
    told = {"expired": "the token is refused (401)", "forbidden": "the token is refused (403)", "down": "status 503"}
    for name, why in told.items():
        (kind, sentence), waiting, _ = found[name]
        assert kind == "UndeliveredError", name
        assert f"found not there: main ({why}); send it with: python recipes/push.py {folder}" in sentence
        assert waiting == ["main"]
    everything = sorted(hub.files("me/tiny"))
    assert [files for *_, files in found.values()] == [everything] * len(found)


def test_a_hub_that_is_down_costs_no_step(hub, pushed, tiny_mlm, tmp_path, home):
    """The run ends as ever, bit for bit, with status 0, or 3 where asked; what waits is sent later."""
    given = [*tiny_mlm, *STEPS, "--output_dir", tmp_path / "mlm", "--push_to_hub", "--hub_model_id", "me/down-for-now"]
    given += ["--hub_revisions", "every_save", "--hub_patience", 0, "--hub_private_repo"]
    with hub.fail("POST", "repos/create", status=503, times=None):
        told = run(hub, home, "mlm", *given)
        strict = run(hub, home, "mlm", *given, "--hub_strict", status=3)
    command = f"python recipes/push.py {tmp_path / 'mlm'}"
    assert "not pushed" in told
    assert command in told
    assert f"send it with: {command}" in strict
    ours, theirs = ((folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path / "mlm", pushed[0]))
    assert ours == theirs
    run(hub, home, "push", tmp_path / "mlm")
    assert set(hub.refs("me/down-for-now")["branches"]) == {"main", "step-3", "step-6"}
    assert hub.info("me/down-for-now")["private"]
    assert "loss.png" not in hub.files("me/down-for-now", "step-6")
    hub.create("me/public")
    public = run(hub, home, "push", tmp_path / "mlm", "--hub_model_id", "me/public", status=2)
    assert "expected a private repository, found one that is public" in public
    assert Outbox(tmp_path / "mlm").destination.repository == "me/down-for-now"


def test_killed_in_the_middle_of_an_upload(hub, tiny_mlm, tmp_path, home):
    """The same command goes on with the training and with what had not arrived."""
    given = [*tiny_mlm, *STEPS, "--output_dir", tmp_path / "mlm", "--push_to_hub", "--hub_model_id", "me/killed"]
    given += ["--hub_revisions", "every_save"]
    with hub.fail("PUT", "", hang=True, times=None):
        hub.forget_requests()
        process = start(hub, home, "mlm", *given)
        deadline = time.monotonic() + 120
        while not any(request["method"] == "PUT" for request in hub.requests()):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert "step-3" in Outbox(tmp_path / "mlm").waiting()
    assert "pushed" in run(hub, home, "mlm", *given)
    assert set(hub.refs("me/killed")["branches"]) == {"main", "step-3", "step-6"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_hub_is_waited_for(number, hub, pushed, tmp_path, home):
    """It ends at once, with the signal's status, and says what has not arrived and what sends it."""
    shutil.copytree(pushed[0], tmp_path / "mlm")
    (tmp_path / "mlm" / "outbox" / "repository.json").unlink()
    with hub.fail("POST", "commit", hang=True, times=None):
        process = start(hub, home, "push", tmp_path / "mlm", "--hub_model_id", f"me/stopped-by-{number.value}")
        assert process.stdout.readline().startswith("sending    main; Ctrl-C leaves it to python recipes/push.py ")
        time.sleep(0.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert f"hub        main not sent yet; the same command sends them, or python recipes/push.py {tmp_path}" in out
    assert "Traceback" not in err
    assert Outbox(tmp_path / "mlm").waiting() == ["main"]


REFUSED = [
    ("no-such-token", "me/tiny", "expected a token that may write, found the token is refused (401); log in with"),
    (None, "me/tiny", "expected a token that may write, found no token; log in with `hf auth login`, or set HF_TOKEN"),
    ("hf_local_read", "me/tiny", "expected a token that may write, found one with the role read"),
    (TOKEN, "other/tiny", "--hub_model_id other/tiny: expected a name under me or org"),
]


ASK = """
import os, sys, json
from pathlib import Path
from hfrep.errors import HfrepError
from hfrep.hub.settings import PushSettings
from hfrep.hub.plan import Plan
found = []
for token, name, _ in json.loads(sys.argv[1]):
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    try:
        Plan.of(PushSettings(push_to_hub=True, hub_model_id=name), Path("nowhere"))
    except HfrepError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def test_who_may_not_write_is_told_before_training(hub, tiny_mlm, tmp_path, home):
    """A token that is rejected, missing, for reading only, or another's: one sentence, status 2, nothing begun."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(REFUSED)],
        env=hub.environment(home, None),
        capture_output=True,
        text=True,
        check=True,
    )
    for sentence, (_, _, words) in zip(json.loads(done.stdout), REFUSED, strict=True):
        assert words in sentence
    told = run(
        hub, home, "mlm", *tiny_mlm, "--output_dir", tmp_path / "mlm", "--push_to_hub", token="no-such-token", status=2
    )
    assert told.startswith("error: the Hub: expected a token that may write")
    assert "Traceback" not in told
    assert not (tmp_path / "mlm").exists()


PEFT = """
import json, sys
sys.modules["hfrep"] = None
import torch
from huggingface_hub import ModelCard
from peft import AutoPeftModelForSequenceClassification, PeftConfig, PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
card = ModelCard.load("me/garden")
card.validate()
config = PeftConfig.from_pretrained("me/garden")
base = AutoModelForSequenceClassification.from_pretrained(
    config.base_model_name_or_path, revision=config.revision, num_labels=2
)
tokenizer = AutoTokenizer.from_pretrained("me/garden")
text = tokenizer("the river sees the boat", return_tensors="pt")
found = []
with torch.inference_mode():
    for model in (
        PeftModel.from_pretrained(base, "me/garden"),
        AutoPeftModelForSequenceClassification.from_pretrained("me/garden", num_labels=2),
    ):
        found.append(model.eval()(**text).logits[0].tolist())
for snippet in card.text.split("```python")[1:]:
    names = {}
    exec(snippet.split("```")[0], names)
    with torch.inference_mode():
        found.append(names["model"].eval()(**text).logits[0].tolist())
print(json.dumps([found, card.data.to_dict()]))
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task in files, and a training on it that takes a second."""
    folder = write_task(tmp_path_factory.mktemp("task"))
    return [
        *("--train_file", folder / "train.jsonl", "--validation_file", folder / "validation.jsonl"),
        *("--task", "garden", "--cpu_threads", 1, "--max_steps", 4, "--random_initialization", "false"),
    ]


def test_an_adapter_opens_with_its_base_from_the_hub(hub, pushed, task, tmp_path, home):
    """By peft alone, and by the snippets in its card; the base is named by its commit, since it may move on."""
    folder, _ = pushed
    told = run(
        hub,
        home,
        "glue",
        *task,
        *("--output_dir", tmp_path / "glue", "--model_name_or_path", folder / "model", "--adaptation", "lora"),
        *("--push_to_hub", "--hub_model_id", "me/garden"),
    )
    assert f"pushed     {hub.url}/me/garden" in told
    commit = hub.refs("me/tiny")["branches"]["main"]
    config = json.loads(hub.read("me/garden", "adapter_config.json"))
    assert (config["base_model_name_or_path"], config["revision"]) == ("me/tiny", commit)
    hub.commit("me/tiny", {"model.safetensors": b"the base moves on"})
    (first, *others), card = json.loads(hub.python(PEFT, tmp_path / "fresh").stdout)
    assert len(others) >= 2
    for other in others:
        assert other == pytest.approx(first, abs=1e-6)
    assert card["base_model"] == "me/tiny"


CARDS = """
import json, sys
sys.modules["hfrep"] = None
import torch
from huggingface_hub import HfApi, ModelCard, hf_hub_download
found = {}
for path in HfApi().list_repo_files("me/parts"):
    if not path.endswith("README.md"):
        continue
    card = ModelCard.load(hf_hub_download("me/parts", path))
    card.validate()
    for number, snippet in enumerate(card.text.split("```python")[1:]):
        names = {}
        exec(snippet.split("```")[0], names)
        text = names["tokenizer"]("the river sees the boat", return_tensors="pt")
        with torch.inference_mode():
            logits = names["model"](**text)
        logits = logits if torch.is_tensor(logits) else logits.logits
        found[f"{path} {number}"] = logits[0].tolist()
print(json.dumps(found))
"""
LOCAL = """
import json, os, sys
from pathlib import Path
import torch
found = {}
for folder in map(Path, sys.argv[1:]):
    os.chdir(folder)
    names = {}
    exec((folder / "README.md").read_text().split("```python")[1].split("```")[0], names)
    text = names["tokenizer"]("the river sees the boat", return_tensors="pt")
    with torch.inference_mode():
        logits = names["model"](**text)
    found[folder.parents[1].name] = (logits if torch.is_tensor(logits) else logits.logits)[0].tolist()
print(json.dumps(found))
"""


def test_several_parts_share_a_repository(hub, pushed, tmp_path, home, task):
    """A whole model, a head and an adapter of one task, each in its folder, opened by every snippet of every card."""
    given = ["--output_dir", tmp_path / "glue", "--model_name_or_path", pushed[0] / "model"]
    run(hub, home, "glue", *task, *given, "--push_to_hub", "--hub_model_id", "me/parts")
    parts = sorted((tmp_path / "glue").glob("garden/*/seed-0/*/README.md"))
    opened = json.loads(hub.python(CARDS, tmp_path / "fresh", token=None).stdout)
    here = subprocess.run(
        [sys.executable, "-c", LOCAL, *(str(part.parent) for part in parts)],
        env=hub.environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    for adaptation, logits in json.loads(here.stdout).items():
        alike = [found for name, found in opened.items() if f"garden/{adaptation}/" in name]
        assert alike, adaptation
        for found in alike:
            assert found == pytest.approx(logits, abs=1e-5), adaptation
    assert any(name.startswith("README.md") for name in opened)


DECODER = """
import json, sys
sys.modules["hfrep"] = None
from transformers import pipeline
print(json.dumps(pipeline("text-generation", "me/writer")("the small", max_new_tokens=8, do_sample=False)))
"""


def test_a_decoder_opens_elsewhere(hub, corpus_file, bpe, tmp_path, home):
    """And writes there what it writes here."""
    from transformers import pipeline

    bpe.save_pretrained(tmp_path / "tokenizer")
    run(
        hub,
        home,
        "clm",
        *("--corpus", corpus_file, "--tokenizer", tmp_path / "tokenizer", "--model", "gpt2-micro"),
        *("--sequence_length", 32, "--train_batch_size", 8, "--cpu_threads", 1, "--max_steps", 4),
        *("--output_dir", tmp_path / "clm", "--push_to_hub", "--hub_model_id", "writer"),
    )
    there = json.loads(hub.python(DECODER, tmp_path / "fresh").stdout.splitlines()[-1])
    here = pipeline("text-generation", str(tmp_path / "clm" / "model"))
    assert there == here("the small", max_new_tokens=8, do_sample=False)


def test_an_adapter_whose_base_is_nowhere_else_is_refused(hub, task, tmp_path, home, wordpiece):
    """Before any training."""
    model = write_model(tmp_path / "base" / "model", wordpiece)
    told = run(
        hub,
        home,
        "glue",
        *task,
        *("--push_to_hub", "--adaptation", "lora", "--model_name_or_path", model, "--output_dir", tmp_path / "glue"),
        status=2,
    )
    assert "expected a base model that stands on the Hub, so that what is pushed opens elsewhere" in told
    assert f"python recipes/push.py {tmp_path / 'base'} --hub_model_id NAME" in told
    assert not (tmp_path / "glue").exists()


def test_the_round_trip_is_checked(hub, tmp_path, home):
    """One command makes, pushes, opens, compares and removes; it takes no repository that is there."""
    told = run(hub, home, "push", "--check", "me/round-trip")
    for word in ("made", "pushed", "opened", "removed"):
        assert f"\n{word} " in f"\n{told}"
    assert not hub.exists("me/round-trip")
    hub.create("me/taken")
    told = run(hub, home, "push", "--check", "me/taken", status=2)
    assert "give a name that is not taken" in told
    assert hub.exists("me/taken")
