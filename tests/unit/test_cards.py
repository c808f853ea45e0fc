"""A card says what the Hub files a model under, how it is opened from wherever it stands, and nothing private."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from checkpoints import CARD
from conftest import documents
from huggingface_hub import ModelCard
from micros import micro

from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import Candidate, FeatureSettings, FineTuningSettings, Fit, Problem
from hfrep.adaptation.fit import Fitter, TrainingSettings
from hfrep.adaptation.saved import CLASS_USAGE, adapted_card
from hfrep.adaptation.study import ProtocolSettings, TaskStudy
from hfrep.card import Base, Card, Evaluation, Usage
from hfrep.card.files import read_card, write_card
from hfrep.card.markdown import markdown
from hfrep.card.pretrained import pretrained_card
from hfrep.card.private import without_paths
from hfrep.errors import HfrepError
from hfrep.evaluation.task_scores import Part, TaskScores
from hfrep.export import Reopening, export, prove_reload
from hfrep.fetching import HubName
from hfrep.models.base_weights import Weights
from hfrep.publish import card_on_the_way
from hfrep.tasks.base import Split, TaskData
from hfrep.tasks.glue import GLUE
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings

SHA = "83ac" + 36 * "0"
METRICS = {
    "eval_loss": 5.28601,
    "eval_perplexity": 197.5432,
    "eval_accuracy": 0.22671,
    "eval_bits_per_byte": 1.9,
    "eval_unigram_loss": 6.487,
}


def run(**settings):
    """What ``run.json`` tells of a run."""
    given = {
        "corpus": ["docstrings"],
        "validation_corpus": None,
        "validation_fraction": 0.01,
        "max_eval_samples": 1024,
        "sequence_length": 128,
        "train_batch_size": 16,
        "model": "bert-micro",
        "model_name_or_path": None,
        "eval_mlm_probability": 0.15,
        "masking": "word",
        "optimizer": "muon",
        "learning_rate": 1e-3,
        "seed": 0,
    } | settings
    corpora = ", ".join(given["corpus"])
    return {
        "settings": given,
        "model": "bert-micro: BertForMaskedLM, 149,760 parameters",
        "text": f"{corpora}: 300 documents, 9,000 tokens in 300 rows of 32, 0.02% padding; 12 rows held out",
        "device": "cpu, 1 process, 2 threads each, float32",
        "budget": "4 minutes, from the beginning",
        "proved": "documents packed into one row do not see each other",
        "versions": {"hfrep": "0.1.0", "torch": "2", "transformers": "5"},
    }


@pytest.fixture
def bert(wordpiece):
    return micro("bert-micro", wordpiece)


def pretrained(trained, metrics=METRICS, **settings):
    return pretrained_card(run(**settings), trained, steps=277, minutes=4.0, metrics=metrics, examples=["a ___ b"])


def parsed(card, place=None):
    """The card as huggingface_hub reads it; what it writes again is the same."""
    text = markdown(card, place)
    read = ModelCard(text)
    assert str(read) == text
    return read


def scores(card, place=None):
    """What ``model-index`` holds: scores by type, with their names."""
    return {
        result.metric_type: (result.metric_name, result.metric_value)
        for result in parsed(card, place).data.eval_results
    }


def test_the_hub_files_an_encoder_under_what_it_is(bert):
    """Library, pipeline, tags and scores are read back by huggingface_hub's own class; baselines are no scores."""
    data = parsed(pretrained(bert)).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "fill-mask")
    assert data.tags == ["hfrep", "masked-language-modeling", "bert"]
    assert data.model_name == "bert-micro, pretrained"
    assert data.datasets is None, "docstrings are none of the Hub"
    assert data.base_model is None
    assert data.language is None
    assert data.license is None
    assert scores(pretrained(bert)) == {
        "loss": ("loss", 5.28601),
        "perplexity": ("perplexity", 197.543),
        "accuracy": ("accuracy", 0.22671),
        "bits_per_byte": ("bits per byte", 1.9),
    }
    (first, *_) = data.eval_results
    assert (first.task_type, first.dataset_type, first.dataset_name) == ("fill-mask", "docstrings", "docstrings")
    assert first.dataset_split == "held out"


def test_the_hub_files_a_decoder_under_what_it_is(bpe):
    """It is shown as one that writes text, and its snippet opens it as that."""
    decoder = micro("gpt2-micro", bpe)
    card = pretrained_card(run(), decoder, steps=1, minutes=None, metrics={})
    data = parsed(card).data
    assert (data.pipeline_tag, data.tags) == ("text-generation", ["hfrep", "causal-language-modeling", "gpt2"])
    assert data.eval_results is None
    assert "AutoModelForCausalLM.from_pretrained" in card.snippets()[0]
    assert "minutes" not in card.training
    assert card.summary == "A causal language model trained with hfrep on docstrings."
    assert "| minutes | 0.02 |" in markdown(pretrained_card(run(), decoder, steps=1, minutes=0.01891, metrics={}))


def test_only_data_sets_of_the_hub_are_named_as_such(bert, tmp_path, monkeypatch):
    """A path that is there or looks like one is not, nor the built-in corpus; a configuration is told by itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/texts").mkdir(parents=True)
    corpora = ["docstrings", "my/texts", "gone.jsonl", "/data/x/texts", "org/books:en", "org/books:de"]
    assert pretrained(bert, corpus=corpora).datasets == ["org/books"]
    one = parsed(pretrained(bert, corpus=["org/books:en"])).data.eval_results[0]
    assert (one.dataset_type, one.dataset_config, one.dataset_split) == ("org/books", "en", "train")
    given = parsed(pretrained(bert, validation_corpus=["my/texts", "gone.jsonl"])).data.eval_results[0]
    assert (given.dataset_type, given.dataset_name, given.dataset_split) == (
        "my-texts-gone.jsonl",
        "my/texts, gone.jsonl",
        None,
    )


def test_a_reader_is_told_how_long_it_trained_and_how_it_was_judged(bert):
    """Tokens, steps, minutes and hardware; the rows and rules of the evaluation; what counting alone would score."""
    text = markdown(pretrained(bert))
    for row in ("| tokens | 567,296 |", "| steps | 277 |", "| minutes | 4 |", "| hardware | cpu, 1 process"):
        assert row in text
    assert "at most 1,024 rows of 128 tokens of documents held out by a hash of their text (1.00%)" in text
    assert "15% of the tokens, chosen by word" in text
    assert "| loss | 5.286 | nats per predicted token |" in text
    assert "| unigram loss | 6.487 | counting alone, for comparison |" in text
    assert "\nA masked language model trained with hfrep on docstrings.\n" in text
    assert "- documents packed into one row do not see each other\n" in text
    assert "```\na ___ b\n```" in text


def test_no_card_tells_where_things_lie(bert):
    """Of corpora, of a configuration and of what was printed only the last names are left."""
    text = markdown(pretrained(bert, corpus=["/home/ada/secret/tales.txt"], model="/home/ada/shapes/mine.json"))
    assert "ada" not in text
    assert "tales.txt: 300 documents" in text
    assert "# mine.json, pretrained" in text


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("/home/ada/texts/a.txt", "a.txt"),
        ("mlm.py --corpus /home/ada/x /data/ --config=/root/c.yaml", "mlm.py --corpus x data --config=c.yaml"),
        ("['/home/ada/x', '~/y/z']", "['x', 'z']"),
        ("file:///home/ada/x: 5 documents", "x: 5 documents"),
        (["/a/b", {"c": "/d/e", "n": 1}], ["b", {"c": "e", "n": 1}]),
        (
            "https://hf.co/me/tiny 1/2, a / b, me/tiny, runs/mlm, </s>",
            "https://hf.co/me/tiny 1/2, a / b, me/tiny, runs/mlm, </s>",
        ),
    ],
)
def test_whole_paths_are_cut_to_their_last_names(told, left):
    """And nothing else is: no address, no fraction, no Hub id, no path from here."""
    assert without_paths(told) == left


def test_a_home_is_not_told_by_its_name(monkeypatch):
    """Its last part is who the user is."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert without_paths("in /home/ada/ and /home/ada") == "in ~ and ~"


def test_a_snippet_opens_what_stands_where_it_is_told(bert):
    """Inside its folder that is a dot; on the Hub the name, with revision and subfolder where there are such."""
    card = pretrained(bert)
    assert card.snippets() == [
        "from transformers import AutoModelForMaskedLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        'model = AutoModelForMaskedLM.from_pretrained(".")'
    ]
    assert 'AutoTokenizer.from_pretrained("me/tiny")' in markdown(card, HubName("me/tiny"))
    place = HubName("me/tiny", "sub", "step-500")
    assert 'AutoTokenizer.from_pretrained("me/tiny", revision="step-500", subfolder="sub")' in markdown(card, place)
    assert parsed(card, place).data.model_name == "tiny/sub"


def test_what_needs_a_folder_fetches_one():
    """A snippet is whole in each place: what it downloads with is imported, and only where it does."""
    usage = Usage(["import json", "from peft import PeftModel"], "a = $folder\nb = f($whole)\nc = g($base)")
    assert usage.at(None, '"/b"') == 'import json\nfrom peft import PeftModel\n\na = "."\nb = f(".")\nc = g("/b")'
    assert usage.at(HubName("me/x", revision="v1"), '"o/b"') == (
        "import json\nfrom huggingface_hub import snapshot_download\nfrom peft import PeftModel\n\n"
        'a = snapshot_download("me/x", revision="v1")\nb = f("me/x", revision="v1")\nc = g("o/b")'
    )
    folder = 'snapshot_download("me/x", allow_patterns="t/lora/*") + "/t/lora"'
    assert f"a = {folder}\nb = f({folder})" in usage.at(HubName("me/x", "t/lora"), '"o/b"')
    assert "huggingface_hub" not in Usage([], "f($whole)").at(HubName("me/x"), "")
    assert "huggingface_hub" in Usage([], "f($whole)").at(HubName("me/x", "t"), "")


def test_a_base_on_the_hub_is_named_with_its_commit():
    """In the metadata, in a sentence and in the snippet; a folder is told to its owner only in the last two."""
    usages = [Usage([], "model = open($base)")]
    card = replace(CARD, usages=usages, base=Base(HubName("me/tiny", revision=SHA), digest="9f3b"))
    assert parsed(card).data.base_model == "me/tiny"
    assert f"[me/tiny](https://huggingface.co/me/tiny) at `{SHA}`" in markdown(card)
    assert "digest `9f3b`" in markdown(card)
    assert f'open("me/tiny", revision="{SHA}")' in markdown(card)
    here = replace(card, base=Base(folder="/runs/mlm/model", digest="9f3b"))
    assert parsed(here).data.base_model is None
    assert 'open("/runs/mlm/model")' in markdown(here)
    assert "Base model: one that is not on the Hub" in markdown(replace(here, usages=[], base=Base(digest="9f3b")))


def test_a_model_that_went_on_from_another_names_it(bert, wordpiece, tmp_path):
    """By its whole path and the digest of its weights, so that it is known once it has moved to the Hub."""
    bert.save_pretrained(tmp_path / "model")
    card = pretrained(bert, model=None, model_name_or_path=str(tmp_path / "model"))
    assert card.base == Base(folder=str(tmp_path / "model"), digest=Weights.of(tmp_path / "model").digest)
    assert card.title == "model, pretrained"


def test_a_base_of_the_hub_is_known_by_its_commit(bert, tmp_path, monkeypatch):
    """However it was called: a branch may move, and the card must not."""
    bert.save_pretrained(tmp_path)
    monkeypatch.setattr("hfrep.card.facts.model_folder", lambda name: tmp_path)
    monkeypatch.setattr("hfrep.card.facts.is_whole", lambda name: True)
    monkeypatch.setattr("hfrep.card.facts.commit_of", lambda name: SHA)
    digest = Weights.of(tmp_path).digest
    assert Base.named("me/tiny@main") == Base(HubName("me/tiny", revision=SHA), digest=digest)
    assert Base.named("me/all/mrpc/full") == Base(HubName("me/all", "mrpc/full", SHA), digest=digest)


def test_a_card_for_a_checkpoint_has_the_last_evaluation_until_then(bert, tmp_path):
    """It is told from the run's own files, while the run goes on."""
    (tmp_path / "run.json").write_text(json.dumps(run()))
    evaluations = [{"step": step, "tokens": 0, "eval_loss": 9.0 - step, "eval_accuracy": 0.1} for step in (2, 4, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in evaluations))
    card = card_on_the_way(tmp_path, bert, 5)
    assert card.training["steps"] == 5
    assert scores(card) == {"loss": ("loss", 5.0), "accuracy": ("accuracy", 0.1)}
    assert "after step 4, " in card.evaluations[0].how
    assert card_on_the_way(tmp_path, bert, 1).evaluations == []


def test_scores_of_tasks_have_the_hubs_names():
    """Metrics, data set, configuration and split are spelt as there, so that results can be compared."""
    evaluation = Evaluation(
        data="STS-B",
        scores={"pearson": 0.5, "spearman": 0.25, "matthews": 1 / 3, "f1": 0.75},
        how="1,500 examples",
        dataset="nyu-mll/glue:stsb",
        split="validation",
    )
    card = replace(CARD, evaluations=[evaluation], language=["en"], license="apache-2.0", datasets=["nyu-mll/glue"])
    data = parsed(card).data
    assert (data.language, data.license, data.datasets) == (["en"], "apache-2.0", ["nyu-mll/glue"])
    one = data.eval_results[0]
    assert (one.dataset_type, one.dataset_config, one.dataset_split) == ("nyu-mll/glue", "stsb", "validation")
    assert {kind: value for kind, (_, value) in scores(card).items()} == {
        "pearsonr": 0.5,
        "spearmanr": 0.25,
        "matthews_correlation": 0.333333,
        "f1": 0.75,
    }


def test_each_reported_split_has_its_scores(bert, wordpiece, tmp_path):
    """The two of MNLI stand apart, and the card says how each was judged and what the training took."""
    bert.save_pretrained(tmp_path)
    numbers = np.arange(3)
    split = Split((["a house", "a river", "a boat"], ["old", "new", "red"]), numbers, numbers)
    names = ("train", "validation_matched", "validation_mismatched")
    notes = (f"train: 3 rows of {tmp_path}/x",)
    data = TaskData(GLUE["mnli"], dict.fromkeys(names, split), notes, "", "nyu-mll/glue:mnli")
    problem = Problem(
        model=str(tmp_path),
        task=data.task,
        tokenizer=wordpiece,
        features=FeatureSettings(),
        adapters=AdapterSettings(),
        dropout=None,
        cache=tmp_path,
        device=torch.device("cpu"),
    )
    settings = TrainingSettings(
        LoopSettings(), BudgetSettings(), FineTuningSettings(), CheckpointSettings(), RecordSettings()
    )
    fitter = Fitter(Accelerator(cpu=True), settings)
    study = TaskStudy(data, problem, fitter, ProtocolSettings(), length=16, folder=tmp_path)
    parts = (Part(np.array([[0, 1, 0]]), numbers), Part(np.array([[0, 0, 0]]), numbers))
    facts = study.card_facts(7, Candidate(1e-4), Fit({}, 10, 20, 1.5, None), TaskScores(("accuracy",), parts))
    card = adapted_card(problem, "full", [CLASS_USAGE], facts)
    data = parsed(card).data
    assert data.datasets == ["nyu-mll/glue"]
    assert data.tags == ["hfrep", "full", "mnli"]
    assert [(one.dataset_config, one.dataset_split, one.metric_value) for one in data.eval_results] == [
        ("mnli", "validation_matched", 0.666667),
        ("mnli", "validation_mismatched", 0.333333),
    ]
    text = markdown(card)
    assert (
        "MNLI, validation_matched: 3 examples, predicted once, at the end of the training; train: 3 rows of x." in text
    )
    for row in (
        "| trained parameters | 10 of 20 |",
        "| minutes | 1.5 |",
        "| seed | 7 |",
        "| hardware | cpu, 1 process",
    ):
        assert row in text
    assert "0 = entailment, 1 = neutral, 2 = contradiction" in text


def test_what_stands_in_a_card_does_not_break_it():
    """Pipes and new lines in tables, fences in examples."""
    card = replace(CARD, training={"a": "x|y\nz"}, examples=["```python\nno\n```"])
    text = markdown(card)
    assert "| a | x\\|y z |" in text
    assert "````\n```python\nno\n```\n````" in text


def test_a_card_is_read_as_it_was_written(bert, tmp_path):
    """With everything in it; what was proved later is added to both files, once."""
    card = replace(
        pretrained(bert), base=Base(HubName("me/tiny", revision=SHA), digest="9f3b"), language=["en"], license="mit"
    )
    write_card(card, tmp_path)
    read = read_card(tmp_path)
    assert read == card
    assert (tmp_path / "README.md").read_text() == markdown(card)
    proved = read.proved("it opens").proved("it opens")
    write_card(proved, tmp_path)
    assert read_card(tmp_path).proofs == [*card.proofs, "it opens"]
    assert (tmp_path / "README.md").read_text().count("- it opens\n") == 1


def test_a_folder_without_a_card_is_refused(tmp_path):
    """So is a damaged one, by the file."""
    with pytest.raises(HfrepError, match=r"expected card\.json, which hfrep writes .*, found none; .*`hf upload`"):
        read_card(tmp_path)
    for text in ("{", "[]", '{"title": "x"}'):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(HfrepError, match=r"card\.json: expected what hfrep wrote there, found .*restore the file"):
            read_card(tmp_path)


def test_every_snippet_of_a_card_is_proved(bert, wordpiece, tmp_path):
    """A second one that opens something else, or what is not a number, is told, however right the first one is."""
    right = pretrained(bert).usages[0]
    inputs = {"input_ids": torch.randint(5, 100, (2, 8))}
    logits = bert.eval()(**inputs).logits.detach().numpy()
    arrays = {name: part.numpy() for name, part in inputs.items()}
    text = documents(1)[0]

    def proved(*more):
        card = replace(pretrained(bert), usages=[right, *more])
        export(bert, wordpiece, tmp_path / "model", card)
        ids = wordpiece(text)["input_ids"]
        return prove_reload([Reopening(tmp_path / "model", card.snippets(), arrays, logits, [text], ids).write()])

    assert proved(right)[0].difference < 1e-5
    for number in ("1.0", "float('nan')"):
        other = f"import torch\nmodel.cls.predictions.decoder.bias.data += {number}"
        with pytest.raises(HfrepError, match=r"compute the same, found logits that differ by"):
            proved(replace(right, code=f"{right.code}\n{other}"))


def test_a_card_needs_no_more_than_it_says():
    """What is not known is left out, without empty sections."""
    text = markdown(
        Card(
            **{name: getattr(CARD, name) for name in ("title", "summary", "library_name", "pipeline_tag")},
            tags=["hfrep"],
            usages=CARD.usages,
            limits="None.",
        )
    )
    for heading in ("Proofs", "Examples", "Evaluation", "Base model"):
        assert heading not in text
