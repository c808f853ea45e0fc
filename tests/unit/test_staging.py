"""What is to stand on the Hub opens there by its name, names its base there, and tells nothing of this machine."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from micros import micro
from peft import PeftConfig
from tasks_on_disk import write_model, write_task

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import Candidate, CardFacts, FeatureSettings, Problem
from hfrep.card import Evaluation
from hfrep.card.files import read_card, write_card
from hfrep.card.pretrained import pretrained_card
from hfrep.data.examples import encode
from hfrep.errors import HfrepError
from hfrep.evaluation.results import Cell, Results, as_json, markdown_table
from hfrep.evaluation.task_scores import Part, TaskScores
from hfrep.export import export
from hfrep.fetching import HubName
from hfrep.hub.staging import About, parts_of, stage, stage_checkpoint, stage_collection
from hfrep.models.adapter_facts import base_name
from hfrep.models.base_weights import Weights
from hfrep.tasks.reading import TaskSettings, open_task

SHA = "83ac" + 36 * "0"
BASE = HubName("me/tiny", revision=SHA)
ABOUT = About(["en"], "apache-2.0")
SCORE = {"full": 0.75, "frozen": 0.5, "lora": 0.625}


def scores(row):
    right = np.arange(8) < 8 * SCORE.get(row, 0.5)
    return TaskScores(("accuracy",), (Part(right[None].astype(np.int64), np.ones(8, np.int64)),))


def describe(folder, **settings):
    """A ``run.json`` as whoever runs things in a home leaves it."""
    told = {"command": f"{folder}/recipes/x.py --data {folder}/data", "settings": settings, "result": ["done"]}
    (folder / "run.json").write_text(json.dumps(told))


def results(rows, home):
    cells = [Cell("garden", row, scores(row), 1, 2, 0.5, None) for row in ("majority", *rows)]
    return Results(cells, [], [f"protocol: as in {home}/notes"])


@pytest.fixture(scope="module")
def reopenings(wordpiece, tmp_path_factory):
    """A run of recipes/glue.py as it lies on disk, but untrained, in a folder ``glue`` beside the base ``mlm/model``.

    By adaptation, what was saved of it is to compute.
    """
    home = tmp_path_factory.mktemp("home")
    base = write_model(home / "mlm/model", wordpiece)
    data = open_task("garden", TaskSettings(task=["garden"], data=str(write_task(home / "data/garden").parent)))
    problem = Problem(
        model=str(base),
        task=data.task,
        tokenizer=wordpiece,
        features=FeatureSettings(),
        adapters=AdapterSettings(),
        dropout=None,
        cache=home / "cache",
        device=torch.device("cpu"),
    )
    train = encode(wordpiece, data.splits["train"].texts, data.splits["train"].targets, max_length=32)
    made = {}
    for name, adaptation in ADAPTATIONS.items():
        candidate = Candidate(1e-3, 2 if name == "frozen" else None)
        adapted = adaptation.adapt(problem, train, [candidate])
        with torch.no_grad():  # a fresh head or adapter is all zeros, and would hide what it stands on
            for weight in adapted.objective.parameters():
                if weight.requires_grad:
                    weight += 0.1 * torch.randn_like(weight)
        for seed in (10, 2):
            evaluation = Evaluation("garden", {"accuracy": SCORE[name]}, "48 examples", split="validation")
            text = [data.splits["train"].texts[0][0]]
            facts = CardFacts({"task": "garden", "seed": seed}, [evaluation], None, train, text)
            folder = home / "glue/garden" / name / f"seed-{seed}"
            made[name] = adapted.save(folder / adaptation.folder, 0, facts)
            made[name].write()
            describe(folder, output_dir=str(folder))
    describe(home / "glue", model_name_or_path=str(base), task=["garden"])
    (home / "glue/results.json").write_text(json.dumps(as_json(results(ADAPTATIONS, home))))
    (home / "glue/results.md").write_text(markdown_table(results(ADAPTATIONS, home)))
    (home / "glue/results.png").write_bytes(b"\x89PNG")
    return made


@pytest.fixture
def part(reopenings):
    """The folder that an adaptation has saved."""
    return lambda name: reopenings[name].folder


@pytest.fixture
def glue(reopenings):
    return reopenings["full"].folder.parents[3]


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def snippets(card):
    return re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_whole_model_is_staged_with_all_that_others_need(part, tmp_path):
    """Its files and the run's description, no probe, no note of ours; the card has what the user said of it."""
    stage(part("full"), tmp_path / "to", repository="me/garden", base=BASE, about=ABOUT)
    saved = {path.name for path in part("full").iterdir()} - {"card.json"}
    assert names(tmp_path / "to") == saved | {"run.json"}
    data = ModelCard.load(tmp_path / "to/README.md").data
    assert (data.language, data.license, data.base_model) == (["en"], "apache-2.0", "me/tiny")
    assert data.eval_results[0].metric_value == 0.75
    assert data.model_name == "garden"
    assert snippets(tmp_path / "to/README.md")[0].count('from_pretrained("me/garden")') == 2
    assert "[run.json](run.json)" in (tmp_path / "to/README.md").read_text()


def test_the_one_part_of_a_run_brings_the_results_of_the_run(part, glue, tmp_path):
    """Instead of the description of its own training; the card links the tables, and nothing tells paths."""
    to = tmp_path / "to"
    stage(part("full"), to, repository="me/garden", base=BASE, about=ABOUT, run_folder=glue)
    saved = {path.name for path in part("full").iterdir()} - {"card.json"}
    assert names(to) == saved | {"run.json", "results.json", "results.md", "results.png"}
    assert read(to / "run.json")["settings"]["task"] == ["garden"]
    text = (to / "README.md").read_text()
    assert "Settings and versions of the run are in [run.json](run.json)." in text
    assert "are in [results.md](results.md)." in text
    assert_nothing_private(to, glue.parent)


def test_revision_and_subfolder_are_told_wherever_something_is_opened(part, tmp_path):
    """In each snippet of each kind of part, and files lie in the subfolder."""
    for name in ADAPTATIONS:
        stage(
            part(name),
            tmp_path,
            repository="me/all",
            revision="v1",
            subfolder=f"garden/{name}",
            base=BASE,
            about=ABOUT,
        )
        for code in snippets(tmp_path / "garden" / name / "README.md"):
            opened = re.findall(r'"me/all".*', code)
            assert opened
            for call in opened:
                assert 'revision="v1"' in call
                assert f'subfolder="garden/{name}"' in call or f'allow_patterns="garden/{name}/*"' in call
            assert '"."' not in code


def test_an_adapter_names_its_base_on_the_hub(part, tmp_path, reopenings):
    """By id and commit, for peft and for us; the digest of the base's weights goes along, and the labels."""
    stage(part("lora"), tmp_path, repository="me/adapter", base=BASE, about=ABOUT)
    config = PeftConfig.from_pretrained(tmp_path)
    assert (config.base_model_name_or_path, config.revision) == ("me/tiny", SHA)
    assert config.r == PeftConfig.from_pretrained(part("lora")).r
    assert base_name(tmp_path) == f"me/tiny@{SHA}"
    labels, before = read(tmp_path / "labels.json"), read(part("lora") / "labels.json")
    assert labels == before | {"base": f"me/tiny@{SHA}"}
    text = (tmp_path / "README.md").read_text()
    assert ModelCard(text).data.base_model == "me/tiny"
    assert ModelCard(text).data.library_name == "peft"
    assert f"at `{SHA}`; its weight files have the BLAKE2b digest `{labels['base_digest']}`" in text
    assert "0 = garden, 1 = house" in text
    by_name, on_a_base = snippets(tmp_path / "README.md")
    assert 'AutoPeftModelForSequenceClassification.from_pretrained(\n    "me/adapter",\n    num_labels=2,' in by_name
    assert f'from_pretrained(\n    "me/tiny", revision="{SHA}",\n    num_labels=2,' in on_a_base
    assert 'PeftModel.from_pretrained(base, "me/adapter")' in on_a_base


def test_a_head_names_its_base_on_the_hub(part, tmp_path):
    """Its snippet fetches the head, and honours the commit of the body."""
    stage(part("frozen"), tmp_path, repository="me/head", base=BASE, about=ABOUT)
    facts = read(tmp_path / "head.json")
    assert (facts["backbone"], facts["revision"], facts["subfolder"]) == ("me/tiny", SHA, "")
    assert facts["backbone_digest"] == read(part("frozen") / "head.json")["backbone_digest"]
    (code,) = snippets(tmp_path / "README.md")
    assert 'folder = snapshot_download("me/head")' in code
    assert "from huggingface_hub import snapshot_download\n" in code
    assert 'facts[name] for name in ("revision", "subfolder")' in code


@pytest.mark.parametrize("name", ["frozen", "lora"])
def test_what_needs_a_base_is_refused_where_that_is_on_this_machine_only(part, glue, tmp_path, name):
    """The sentence says what to push first; nothing has been staged."""
    mlm = glue.parent / "mlm"
    words = (
        rf"{part(name)}: expected a base model that stands on the Hub, .*, found the folder {mlm}/model; "
        rf"push it first: python recipes/push\.py {mlm} --hub_model_id NAME\."
    )
    with pytest.raises(HfrepError, match=words):
        stage(part(name), tmp_path / "to", repository="me/x", about=ABOUT)
    assert not (tmp_path / "to").exists()


def test_a_base_that_came_from_the_hub_needs_no_telling(part, tmp_path):
    """The part knows it with its commit, which what the caller believes does not change."""
    (tmp_path / "from").mkdir()
    for file in part("lora").iterdir():
        (tmp_path / "from" / file.name).write_bytes(file.read_bytes())
    card = read_card(part("lora"))
    write_card(replace(card, base=replace(card.base, hub=BASE, folder=None)), tmp_path / "from")
    for given in (None, HubName("other/model")):
        stage(tmp_path / "from", tmp_path / "to", repository="me/x", base=given, about=ABOUT)
        assert read(tmp_path / "to/adapter_config.json")["base_model_name_or_path"] == "me/tiny"
        assert read(tmp_path / "to/adapter_config.json")["revision"] == SHA


def test_a_whole_model_goes_without_its_base(part, glue, tmp_path):
    """It opens by itself: where the base is not on the Hub, its card names none, and no path."""
    stage(part("full"), tmp_path, repository="me/x", about=About())
    text = (tmp_path / "README.md").read_text()
    assert ModelCard(text).data.base_model is None
    assert ModelCard(text).data.license is None
    digest = Weights.of(glue.parent / "mlm/model").digest
    assert f"Base model: one that is not on the Hub; its weight files have the BLAKE2b digest `{digest}`." in text


def test_weights_take_no_room_twice(part, tmp_path, monkeypatch):
    """They are the same files, and are copied only where that cannot be; what is staged again harms them not."""
    source = part("full") / "model.safetensors"
    before = source.read_bytes()
    for number in range(2):
        stage(part("full"), tmp_path / "to", repository=f"me/{number}", about=ABOUT)
        assert source.samefile(tmp_path / "to/model.safetensors")
    assert not (part("full") / "config.json").samefile(tmp_path / "to/config.json")

    def refused(*names):
        raise OSError("no such links here")

    monkeypatch.setattr(os, "link", refused)
    stage(part("full"), tmp_path / "to", repository="me/x", about=ABOUT)
    assert not source.samefile(tmp_path / "to/model.safetensors")
    assert (tmp_path / "to/model.safetensors").read_bytes() == before == source.read_bytes()


def test_hidden_files_are_left_out(part, tmp_path):
    """Whatever made them; other files come along, from folders too."""
    (tmp_path / "model/more").mkdir(parents=True)
    (tmp_path / "model/.cache").mkdir()
    write_card(read_card(part("full")), tmp_path / "model")
    for name in (".hidden", ".cache/x", "more/.y", "more/z.txt"):
        (tmp_path / "model" / name).write_text("x")
    stage(tmp_path / "model", tmp_path / "to", repository="me/x", about=ABOUT)
    assert names(tmp_path / "to") == {"README.md", "more/z.txt"}


def test_a_folder_without_our_card_is_refused(glue, tmp_path):
    """It cannot be told how it opens."""
    with pytest.raises(HfrepError, match=r"mlm/model: expected card\.json"):
        stage(glue.parent / "mlm/model", tmp_path, repository="me/x", about=ABOUT)


def test_a_pretrained_model_brings_its_loss_along(wordpiece, tmp_path):
    """The plot is shown in the card, the description is linked and tells no paths."""
    folder = tmp_path / "run"
    model = micro("bert-micro", wordpiece)
    settings = {
        "corpus": [str(tmp_path / "tales.txt")],
        "validation_corpus": None,
        "validation_fraction": 0.01,
        "max_eval_samples": 64,
        "sequence_length": 32,
        "train_batch_size": 16,
        "model": "bert-micro",
        "model_name_or_path": None,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "seed": 0,
    }
    told = {"model": "bert-micro", "text": f"{tmp_path}/tales.txt: 3", "device": "cpu", "budget": "9 steps"}
    run = {"settings": settings, "versions": dict.fromkeys(("hfrep", "torch", "transformers"), "1"), **told}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "loss.png").write_bytes(b"\x89PNG")
    (folder / "metrics.jsonl").write_text('{"step": 9, "tokens": 1, "eval_loss": 3.0}\n')
    card = pretrained_card(run, model, steps=9, minutes=1.0, metrics={"eval_loss": 3.0})
    export(model, wordpiece, folder / "model", card)
    stage(folder / "model", tmp_path / "to", repository="me/tiny", about=ABOUT)
    text = (tmp_path / "to/README.md").read_text()
    assert "![training and validation loss over tokens](loss.png)" in text
    assert {"loss.png", "metrics.jsonl", "run.json"} <= names(tmp_path / "to")
    assert "(metrics.jsonl)" in text
    assert read(tmp_path / "to/run.json")["settings"]["corpus"] == ["tales.txt"]
    assert_nothing_private(tmp_path / "to", tmp_path)

    stage_checkpoint(folder, model, wordpiece, tmp_path / "step", repository="me/tiny", step=5, about=ABOUT)
    step = (tmp_path / "step/README.md").read_text()
    assert 'from_pretrained("me/tiny", revision="step-5")' in step
    assert "| steps | 5 |" in step
    assert "after step 5; the final one is in the main branch of [me/tiny](" in step
    assert "main branch" not in text
    assert ModelCard(step).data.license == "apache-2.0"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names(tmp_path / "step")
    assert "card.json" not in names(tmp_path / "step")
    assert_nothing_private(tmp_path / "step", tmp_path)


def assert_nothing_private(folder, home):
    texts = [path for path in folder.rglob("*") if path.suffix in (".json", ".md")]
    assert texts
    for path in texts:
        for private in (str(home), str(Path.home()) + "/"):
            assert private not in path.read_text(encoding="utf-8"), path


def test_of_each_task_and_adaptation_the_lowest_seed_is_a_part(glue):
    """By number, not by name: 2 before 10."""
    parts = {part.subfolder: part.source for part in parts_of(glue)}
    assert list(parts) == ["garden/frozen", "garden/full", "garden/lora"]
    assert parts["garden/lora"] == glue / "garden/lora/seed-2/adapter"


def test_a_collection_tells_what_stands_in_it(glue, tmp_path):
    """Each part in its folder with its card; one card for all, with the table, ways to open, and all scores."""
    stage_collection(glue, tmp_path, repository="me/glue", base=BASE, about=ABOUT)
    staged = names(tmp_path)
    assert {"README.md", "results.json", "results.md", "results.png", "run.json"} <= staged
    assert {f"garden/{name}/README.md" for name in ADAPTATIONS} <= staged
    text = (tmp_path / "README.md").read_text()
    card = ModelCard(text)
    assert str(card) == text
    assert card.data.base_model == "me/tiny"
    assert (card.data.language, card.data.license) == (["en"], "apache-2.0")
    assert card.data.pipeline_tag == "text-classification"
    assert {"hfrep", "full", "frozen", "lora"} <= set(card.data.tags)
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {f"accuracy, {name}": score for name, score in SCORE.items()}
    for row in ("| majority | 50.0 |", "| full | 75.0 |", "| lora | 62.5 |"):
        assert row in text
    assert "| [garden/lora](garden/lora/README.md) | garden, lora | peft | 2 | 62.5 |" in text
    assert "- protocol: as in notes" in text
    assert len(snippets(tmp_path / "README.md")) == len(ADAPTATIONS)
    assert 'from_pretrained("me/glue", subfolder="garden/full")' in text
    places = [text.index(f"`garden/{name}`") for name in ADAPTATIONS]
    assert places == sorted(places), "in the order of the table"
    assert_nothing_private(tmp_path, glue.parent)


def test_a_part_that_stands_in_no_table_has_its_place_all_the_same(glue, tmp_path):
    """An earlier command left it; it comes last."""
    (tmp_path / "run").mkdir()
    for name in ("full", "lora"):
        kept = tmp_path / "run/garden" / name / "seed-0/part"
        kept.mkdir(parents=True)
        write_card(read_card(next((glue / "garden" / name / "seed-2").glob("*/card.json")).parent), kept)
    told = as_json(results(["lora"], tmp_path))
    (tmp_path / "run/results.json").write_text(json.dumps(told))
    stage_collection(tmp_path / "run", tmp_path / "to", repository="me/x", base=BASE, about=ABOUT)
    text = (tmp_path / "to/README.md").read_text()
    assert text.index("`garden/lora`") < text.index("`garden/full`")


def test_a_collection_of_nothing_is_refused(glue, tmp_path):
    """A run that saved nothing, or one that has not ended."""
    with pytest.raises(HfrepError, match=r"expected what recipes/glue\.py saves, .*, found nothing that was saved"):
        stage_collection(tmp_path, tmp_path / "to", repository="me/x", about=ABOUT)
    (tmp_path / "garden/lora/seed-0/adapter").mkdir(parents=True)
    write_card(read_card(glue / "garden/lora/seed-2/adapter"), tmp_path / "garden/lora/seed-0/adapter")
    with pytest.raises(HfrepError, match=r"found no results\.json; finish the run"):
        stage_collection(tmp_path, tmp_path / "to", repository="me/x", about=ABOUT)


COMPUTE = """
import json, sys
sys.modules["hfrep"] = None
import numpy as np, torch
from huggingface_hub import ModelCard
cases = json.load(open(sys.argv[1]))
worst = []
for code, probe in cases:
    names, probe = {}, np.load(probe)
    exec(code, names)
    with torch.inference_mode():
        inputs = {name: torch.from_numpy(probe[f"input_{name}"]) for name in probe["inputs"].tolist()}
        logits = names["model"](**inputs)
    logits = logits if torch.is_tensor(logits) else logits.logits
    worst.append(float(np.abs(logits.numpy() - probe["logits"]).max() / np.abs(probe["logits"]).max()))
    assert names["tokenizer"](*probe["text"].tolist())["input_ids"] == probe["text_ids"].tolist()
ModelCard.load("me/staged").validate()
print(max(worst))
"""


def test_every_snippet_opens_what_stands_on_the_hub(hub, glue, part, reopenings, wordpiece, tmp_path):
    """Pasted into a process elsewhere, with an empty cache and without hfrep, each computes what was saved.

    A base that is named with its commit may have moved on; one that is named without is taken as it is.
    """
    for name in ("me/staged-base", "me/staged-moved"):
        push(hub, name, glue.parent / "mlm/model")
    moved = HubName("me/staged-moved", revision=hub.refs("me/staged-moved")["branches"]["main"])
    micro("bert-micro", wordpiece, seed=1).save_pretrained(tmp_path / "later")
    push(hub, "me/staged-moved", tmp_path / "later")

    stage_collection(glue, tmp_path / "all", repository="me/staged", base=moved, about=ABOUT)
    push(hub, "me/staged", tmp_path / "all")
    cases = []
    for name in ADAPTATIONS:
        alone, loose = f"me/staged-{name}", HubName("me/staged-base")
        stage(part(name), tmp_path / name, repository=alone, base=loose, about=ABOUT)
        push(hub, alone, tmp_path / name)
        for card in (tmp_path / "all/garden" / name / "README.md", tmp_path / name / "README.md"):
            cases += [(code, str(reopenings[name].write())) for code in snippets(card)]
    assert len(cases) == 2 * 4
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    code = f"import sys\nsys.argv[1:] = [{str(tmp_path / 'cases.json')!r}]\n{COMPUTE}"
    assert float(hub.python(code, tmp_path / "home").stdout) < 1e-4


def push(hub, repository, folder):
    if not hub.exists(repository):
        hub.create(repository)
    hub.commit(repository, {name: (folder / name).read_bytes() for name in names(folder)})
