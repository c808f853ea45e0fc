"""Recipes with models, tokenizers and adapters of a Hub on this machine, and of the cache when it is gone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import checkpoint
from conftest import RECIPES, sentences
from hub import OTHER_TOKEN, TOKEN
from peft import LoraConfig, get_peft_model
from tasks_on_disk import write_task
from transformers import AutoModelForCausalLM

RUN = """
import json, runpy, sys
sys.path.insert(0, sys.argv[1])
from hfrep.errors import HfrepError

told = []
for recipe, flags in json.load(sys.stdin):
    try:
        told.append(runpy.run_path(f"{sys.argv[2]}/{recipe}.py")["main"](flags))
    except HfrepError as error:
        told.append(f"{type(error).__name__}: {error}")
print(json.dumps(told))
"""
ADAPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import torch
from checkpoints import CARD
from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.data.tokenizer import load_tokenizer
from hfrep.models.classifier import open_classifier

for name, base in (("ours", "me/loaded-encoder"), ("below", "me/loaded/bases/encoder")):
    tokenizer, labels = load_tokenizer(base), ("garden", "house")
    torch.manual_seed(0)
    model = add_adapter(open_classifier(base, labels=labels, pad_token_id=0), AdapterSettings(), base=base)
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.1 * part.requires_grad)
    save_adapter(model, tokenizer, Path(sys.argv[3]) / name, labels=labels, card=CARD)
"""


def run(hub, home, *commands, token=TOKEN, **environment):
    """Run recipes one after another in one client process: the status of each, or its sentence."""
    process = subprocess.run(
        [sys.executable, "-c", RUN, str(RECIPES.parent), str(RECIPES)],
        input=json.dumps([[name, list(map(str, flags))] for name, *flags in commands]),
        env=hub.environment(home, token) | {"ACCELERATE_USE_CPU": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def files(folder, below=""):
    """What is in `folder`, for a commit."""
    return {f"{below}{path.name}": path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    file.write_text("\n".join(sentences(8, seed=5)) + "\n")
    return file


@pytest.fixture(scope="module")
def stored(hub, wordpiece, bpe, tmp_path_factory):
    """Models on the Hub, by name: the folders they are copies of."""
    root = tmp_path_factory.mktemp("stored")
    encoder = checkpoint("bert", wordpiece, root / "encoder")
    first, later = checkpoint("gpt2", bpe, root / "first"), checkpoint("gpt2", bpe, root / "later", n_layer=1)
    hub.create("me/loaded-encoder", private=True)
    hub.commit("me/loaded-encoder", files(encoder))
    hub.create("me/loaded-decoder")
    commit = hub.commit("me/loaded-decoder", files(first) | {"onnx/model.onnx": b"x", "optimizer.pt": b"x"})
    hub.python(
        "import huggingface_hub as h; h.create_tag('me/loaded-decoder', tag='v1'); "
        "h.create_branch('me/loaded-decoder', branch='step-500')",
        root / "home",
    )
    hub.commit("me/loaded-decoder", files(later))
    hub.create("me/loaded")
    hub.commit("me/loaded", files(first, "runs/decoder/") | files(encoder, "bases/encoder/") | {"README.md": b"Two."})
    return {
        "me/loaded-decoder@v1": first,
        f"me/loaded-decoder@{commit}": first,
        "me/loaded-decoder": later,
        "me/loaded/runs/decoder": first,
    }


def perplexity(name, texts, output):
    return "perplexity", "--model_name_or_path", name, "--corpus", texts, "--output_dir", output, "--cpu_threads", 1


def scores(output):
    return next(iter(json.loads((output / "results.json").read_text())["scores"].values()))


def test_a_revision_a_commit_and_a_subfolder(hub, stored, texts, tmp_path):
    """Each name opens what it says, nothing else is fetched, and without the Hub the cache has it all."""
    hub.forget_requests()
    names = [*stored, *map(str, stored.values())]
    outputs = [tmp_path / str(number) for number in range(len(names))]
    commands = [perplexity(*given) for given in zip(names, [texts] * len(names), outputs, strict=True)]
    assert run(hub, tmp_path / "home", *commands) == [0] * len(names)
    by_name = [scores(output) for output in outputs[: len(stored)]]
    assert by_name == [scores(output) for output in outputs[len(stored) :]]
    assert by_name[0] == by_name[1] == by_name[3] != by_name[2]
    asked = " ".join(request["path"] for request in hub.requests())
    assert "model.safetensors" in asked
    assert not [part for part in ("onnx/", "optimizer.pt", "README.md", "bases/encoder/model") if f"/{part}" in asked]

    hub.forget_requests()
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        again = [tmp_path / f"again {number}" for number in range(len(stored))]
        commands = [perplexity(*given) for given in zip(stored, [texts] * len(stored), again, strict=True)]
        assert run(hub, tmp_path / "home", *commands, token=None, **environment) == [0] * len(stored)
        assert [scores(output) for output in again] == by_name
    assert hub.requests() == []


def test_a_private_model(hub, stored, texts, tmp_path):
    """Its owner's token opens it; without one, and with another's, it is as if it were not there."""
    flags = ("features", "--texts", texts, "--output_file", tmp_path / "v.npy", "--cpu_threads", 1)
    command = (*flags, "--model_name_or_path", "me/loaded-encoder")
    assert run(hub, tmp_path / "home", command) == [0]
    for token, found in ((None, "asks for a token"), (OTHER_TOKEN, "the token may not read")):
        (told,) = run(hub, tmp_path / "empty", command, token=token)
        assert told == (
            "HubError: tokenizer me/loaded-encoder: expected a folder with a tokenizer, or the name of a repository on "
            "the Hub, found no folder me/loaded-encoder, and no repository me/loaded-encoder there, unless a private "
            f"one that {found}; correct the name, or log in with `hf auth login`, or set HF_TOKEN."
        )


def test_what_is_not_there_is_told(hub, stored, texts, tmp_path):
    """Repository, revision, subfolder, and a Hub that fails: each is one sentence, with what there is instead."""
    names = [
        "me/nothing",
        "me/loaded-decoder@step-50",
        f"me/loaded-decoder@{'0' * 40}",
        "me/loaded/decoder",
        "me/loaded",
    ]
    told = run(hub, tmp_path / "home", *(perplexity(name, texts, tmp_path / "out") for name in names))
    revision = (
        "HubError: tokenizer {}: expected a branch, a tag or a whole commit of me/loaded-decoder, found {}; give {}."
    )
    folder = "ConfigError: tokenizer {}: expected a tokenizer in {}, found none; give {}."
    runs, bases = "me/loaded/runs/decoder", "me/loaded/bases/encoder"
    assert told[0].startswith(
        "HubError: tokenizer me/nothing: expected a folder with a tokenizer, or the name of a repo"
    )
    assert told[1] == revision.format(names[1], "step-50", "step-500, main, v1")
    assert told[2].startswith(revision.format(names[2], "0" * 40, "")[:-2])
    assert told[3] == folder.format(names[3], names[3], f"{runs}, {bases}")
    assert told[4] == folder.format(names[4], names[4], f"{runs}, {bases}")

    with hub.fail("GET", "/api/models/me/loaded-decoder", times=None, status=401):
        assert "HubError" in run(hub, tmp_path / "home", perplexity("me/loaded-decoder", texts, tmp_path / "out"))[0]
    with hub.fail("GET", "/api/models/me/loaded-decoder", times=None, status=403):
        (told,) = run(hub, tmp_path / "home", perplexity("me/loaded-decoder", texts, tmp_path / "out"))
    assert told.endswith("expected a token that the Hub takes, found one that it refuses (403); log in anew with `hf "
                         "auth login`, or set HF_TOKEN.")  # fmt: skip


@pytest.fixture(scope="module")
def adapters(hub, stored, bpe, tmp_path_factory):
    """me/loaded-adapters: a language model's, as others save it, and two of ours; the folder they were made in."""
    root = tmp_path_factory.mktemp("adapters")
    model = AutoModelForCausalLM.from_pretrained(stored["me/loaded-decoder@v1"])
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, fan_in_fan_out=True))
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = "me/loaded-decoder", "v1"
    model.save_pretrained(root / "theirs", save_embedding_layers=False)
    model.merge_and_unload().save_pretrained(root / "merged")
    bpe.save_pretrained(root / "merged")
    adapt = subprocess.run(
        [sys.executable, "-c", ADAPT, str(RECIPES.parent), str(Path(__file__).parents[1]), str(root)],
        env=hub.environment(root / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert adapt.returncode == 0, adapt.stderr
    hub.create("me/loaded-adapters")
    hub.commit(
        "me/loaded-adapters",
        {
            path: content
            for name in ("theirs", "ours", "below")
            for path, content in files(root / name, f"{name}/").items()
        },
    )
    return root


def test_an_adapter_names_its_base_with_the_commit(hub, adapters):
    """For peft by repository and revision; a subfolder, which peft does not know, by the folder on this machine."""
    for name, repository, below in (("ours", "me/loaded-encoder", ""), ("below", "me/loaded", "/bases/encoder")):
        commit = hub.info(repository)["sha"]
        facts = json.loads((adapters / name / "labels.json").read_text())
        config = json.loads((adapters / name / "adapter_config.json").read_text())
        assert facts["base"] == f"{repository}{below}@{commit}"
        named = config["base_model_name_or_path"]
        if not below:
            assert (named, config["revision"]) == (repository, commit)
        else:
            assert named.endswith(f"/snapshots/{commit}{below}")
            assert config["revision"] is None


def test_adapters_wherever_a_model_does(hub, adapters, texts, tmp_path):
    """Perplexity and features are those of the merged model, a classifier's adapter goes on; offline all the same."""
    task = write_task(tmp_path / "task")
    glue = ["glue", "--cpu_threads", 1, "--task", "garden", "--adaptation", "frozen", "lora", "--max_steps", 2]
    glue += ["--train_file", task / "train.jsonl", "--validation_file", task / "validation.jsonl"]
    glue += ["--learning_rates", "1e-3", "--random_initialization", "false"]

    def commands(output, writer, *more):
        vectors = ["features", "--texts", texts, "--cpu_threads", 1, "--output_file"]
        return [
            perplexity(writer, texts, output / "perplexity"),
            [*vectors, output / "theirs.npy", "--model_name_or_path", writer],
            [*vectors, output / "ours.npy", "--model_name_or_path", "me/loaded-adapters/ours@main"],
            [*vectors, output / "below.npy", "--model_name_or_path", "me/loaded-adapters/below"],
            *more,
        ]

    cache = {"HFREP_CACHE": str(tmp_path / "cache")}
    more = (
        [*glue, "--model_name_or_path", "me/loaded-adapters/ours", "--output_dir", tmp_path / "glue"],
        perplexity("me/loaded-adapters/ours", texts, tmp_path / "none"),
    )
    told = run(hub, tmp_path / "home", *commands(tmp_path / "fetched", "me/loaded-adapters/theirs", *more), **cache)
    assert told[:-1] == [0] * 5
    assert told[-1] == (
        "ConfigError: --model_name_or_path me/loaded-adapters/ours: expected a masked or a causal language model, "
        "saved with its head, found BertForSequenceClassification; give a model such as BertForMaskedLM or "
        "GPT2LMHeadModel."
    )
    cache = {"HFREP_CACHE": str(tmp_path / "another cache"), "HF_HUB_OFFLINE": "1"}
    assert run(hub, tmp_path / "home", *commands(tmp_path / "offline", "me/loaded-adapters/theirs"), **cache) == [0] * 4
    assert run(hub, tmp_path / "home", *commands(tmp_path / "merged", str(adapters / "merged"))[:2]) == [0, 0]

    fetched, offline, merged = (tmp_path / name for name in ("fetched", "offline", "merged"))
    assert scores(fetched / "perplexity") == scores(offline / "perplexity")
    assert scores(fetched / "perplexity") == pytest.approx(scores(merged / "perplexity"), rel=1e-5)
    assert np.allclose(np.load(fetched / "theirs.npy"), np.load(merged / "theirs.npy"), atol=1e-5)
    for name in ("theirs", "ours", "below"):
        assert np.array_equal(np.load(fetched / f"{name}.npy"), np.load(offline / f"{name}.npy"))
    assert np.allclose(np.load(fetched / "ours.npy"), np.load(fetched / "below.npy"), atol=1e-6), "of equal weights"
