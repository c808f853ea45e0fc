"""An adapter is given wherever a model is: it opens as the stock model that it and its base are together."""

import json
import shutil

import pytest
import torch
from checkpoints import CARD, checkpoint
from conftest import recipe
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import CheckpointError, ConfigError, HfrepError
from hfrep.models import merging
from hfrep.models.classifier import open_classifier
from hfrep.models.language_model import open_causal_model, open_language_model
from hfrep.models.named import load_stored, load_with_new_head, model_folder, stored_config, stored_pad

TOKENS = torch.arange(5, 25)[None]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HFREP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def foreign(wordpiece, tmp_path):
    """Makes an adapter as others do, without a tokenizer: what computes, and the folder."""

    def make(kind, auto_class, *, opened=None, rows=None, **config):
        base = checkpoint(kind, wordpiece, tmp_path / "base")
        torch.manual_seed(0)
        model = auto_class.from_pretrained(base, **(opened or {}))
        if rows is not None:
            model.resize_token_embeddings(rows, mean_resizing=False)
        model = get_peft_model(model, LoraConfig(r=4, **config)).eval()
        with torch.no_grad():
            for part in model.parameters():
                part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
        model.save_pretrained(tmp_path / "adapter")
        return model, tmp_path / "adapter"

    return make


def outputs(model, tokens=TOKENS):
    with torch.no_grad():
        made = model.eval()(input_ids=tokens)
    return made.logits if "logits" in made else made.last_hidden_state


LLAMA = {"task_type": "CAUSAL_LM", "auto_class": AutoModelForCausalLM, "kind": "llama"}
CASES = {
    "causal": {"kind": "gpt2", "auto_class": AutoModelForCausalLM, "task_type": "CAUSAL_LM"},
    "masked": {"kind": "bert", "auto_class": AutoModelForMaskedLM, "target_modules": ["query"]},
    "body": {"kind": "bert", "auto_class": AutoModel, "task_type": "FEATURE_EXTRACTION", "target_modules": ["query"]},
    "body that has no pooler": {
        "kind": "modernbert",
        "auto_class": AutoModel,
        "task_type": "FEATURE_EXTRACTION",
        "target_modules": ["Wqkv"],
    },
    "classifier": {
        "kind": "distilbert",
        "auto_class": AutoModelForSequenceClassification,
        "task_type": "SEQ_CLS",
        "target_modules": ["q_lin"],
        "opened": {"num_labels": 3},
    },
    "head of two layers": {
        "kind": "roberta",
        "auto_class": AutoModelForSequenceClassification,
        "task_type": "SEQ_CLS",
        "target_modules": ["query"],
        "opened": {"num_labels": 5},
    },
    "one number": {
        "kind": "gpt2",
        "auto_class": AutoModelForSequenceClassification,
        "task_type": "SEQ_CLS",
        "opened": {"num_labels": 1},
    },
    "tokens added": {**LLAMA, "target_modules": ["q_proj"], "rows": 200},
    "embeddings trained": {**LLAMA, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "tied output changed": {**LLAMA, "target_modules": ["lm_head"]},
    "tied embeddings changed": {**LLAMA, "target_modules": ["embed_tokens"]},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_of_others_opens_as_a_model(case, foreign, wordpiece):
    """With its head and its embeddings, and of a body without the pooler that its base does not have."""
    given = CASES[case]
    model, folder = foreign(**given)
    opened, missing = load_with_new_head(str(folder), given["auto_class"])
    assert type(opened) is type(model.get_base_model())
    assert (outputs(opened) - outputs(model)).abs().max() < 1e-5 * outputs(model).abs().max()
    assert opened.dtype == torch.float32
    assert missing == (["pooler.dense.bias", "pooler.dense.weight"] if case == "body" else [])
    assert load_tokenizer(str(folder)).get_vocab() == wordpiece.get_vocab(), "the base's, where it has none"
    merged = model_folder(str(folder))
    assert AutoTokenizer.from_pretrained(merged).get_vocab() == wordpiece.get_vocab()
    assert not (merged / "adapter_config.json").exists()


@pytest.fixture
def ours(wordpiece, tmp_path):
    """An adapter of this package for three labels, and its base."""
    base = checkpoint("bert", wordpiece, tmp_path / "base")
    classifier = open_classifier(str(base), labels=("no", "maybe", "yes"), pad_token_id=wordpiece.pad_token_id)
    model = add_adapter(classifier, AdapterSettings(), base=str(base))
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
    save_adapter(model, wordpiece, tmp_path / "ours", labels=("no", "maybe", "yes"), card=CARD)
    return model, tmp_path / "ours", base


def test_an_adapter_of_ours_is_a_classifier(ours, wordpiece):
    """It goes on with its head where the labels are its own, as any classifier, and is a body without it."""
    model, folder, _ = ours
    classifier = open_classifier(str(folder), labels=("no", "maybe", "yes"), pad_token_id=wordpiece.pad_token_id)
    assert classifier.new == ()
    assert (outputs(classifier.model) - outputs(model)).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="expected a head for 0 = a, 1 = b, in this order, found 0 = no, 1 = maybe"):
        open_classifier(str(folder), labels=("a", "b"), pad_token_id=wordpiece.pad_token_id)
    body, missing = load_with_new_head(str(folder), AutoModel)
    with torch.no_grad():
        theirs = model(input_ids=TOKENS, output_hidden_states=True).hidden_states[-1]
    assert missing == []
    assert (outputs(body) - theirs).abs().max() < 1e-5
    assert (stored_config(str(folder)).num_labels, stored_pad(str(folder))) == (3, wordpiece.pad_token_id)


def test_an_adapter_on_an_adapter(ours, wordpiece, tmp_path):
    """What is trained on a merged model names its folder on this machine, and is found by it."""
    _, folder, _ = ours
    classifier = open_classifier(str(folder), labels=("no", "maybe", "yes"), pad_token_id=wordpiece.pad_token_id)
    model = add_adapter(classifier, AdapterSettings(), base=str(folder))
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.3 * part.requires_grad)
    save_adapter(model, wordpiece, tmp_path / "second", labels=("no", "maybe", "yes"), card=CARD)
    merged = str(model_folder(str(folder)).resolve())
    for file, key in (("adapter_config.json", "base_model_name_or_path"), ("labels.json", "base")):
        assert json.loads((tmp_path / "second" / file).read_text())[key] == merged
    again, _ = load_with_new_head(str(tmp_path / "second"), AutoModelForSequenceClassification)
    assert (outputs(again) - outputs(model)).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_what_it_is_asked_to_be_and_is_not(ours, foreign, wordpiece):
    """No adapter gets a language model's head at random, and none that fills in masks goes on writing."""
    _, folder, _ = ours
    for opening in (open_language_model, open_causal_model):
        with pytest.raises(ConfigError) as told:
            opening(str(folder), wordpiece)
        assert str(told.value) == (
            f"--model_name_or_path {folder}: expected a masked or a causal language model, saved with its head, found "
            "BertForSequenceClassification; give a model such as BertForMaskedLM or GPT2LMHeadModel."
        )
    shutil.rmtree(folder.parent / "base")
    _, masked = foreign(**CASES["masked"])
    assert type(open_language_model(str(masked), wordpiece)).__name__ == "BertForMaskedLM"
    with pytest.raises(ConfigError, match=f"{masked}: expected a causal language model, found BertForMaskedLM"):
        open_causal_model(str(masked), wordpiece)


@pytest.mark.filterwarnings("ignore")
def test_it_is_merged_once(foreign, monkeypatch):
    """Another process finds it in the cache, as long as neither adapter nor base has changed."""
    _, folder = foreign(**CASES["masked"])
    first = model_folder(str(folder))
    merges = []
    real = merging.merge
    monkeypatch.setattr(merging, "merge", lambda *given, **more: merges.append(1) or real(*given, **more))
    merging._merged_folder.cache_clear()
    assert model_folder(str(folder)) == first
    (folder / "README.md").write_text("Another card.")
    merging._merged_folder.cache_clear()
    assert model_folder(str(folder)) == first
    assert merges == []
    for changed in (folder / "adapter_model.safetensors", folder.parent / "base" / "model.safetensors"):
        weights = load_file(changed)
        save_file({name: weight * 1.5 for name, weight in weights.items()}, changed, {"format": "pt"})
        merging._merged_folder.cache_clear()
        assert model_folder(str(folder)) != first
    assert len(merges) == 2


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_merged_is_told(wordpiece, tmp_path):
    """Prompts are no weights."""
    base = checkpoint("gpt2", wordpiece, tmp_path / "base")
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(tmp_path / "prompts")
    with pytest.raises(ConfigError) as told:
        model_folder(str(tmp_path / "prompts"))
    assert str(told.value) == (
        f"{tmp_path / 'prompts'}: expected a method whose change can be merged into weights, such as LORA, found "
        "PROMPT_TUNING: prompts are no weights; use it as an adapter."
    )


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_merge_is_told(foreign, monkeypatch):
    """What is kept in the cache computes what the adapter does, whatever peft did."""
    _, folder = foreign(**CASES["masked"])
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(
        HfrepError, match=f"{folder}, merged: expected outputs as the adapter's to 0.0001 of the larges"
    ):
        model_folder(str(folder))
    assert not list((folder.parent / "cache").rglob("config.json"))


def edited(**changes):
    def edit(folder):
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def rewritten(change):
    def edit(folder):
        weights = load_file(folder / "adapter_model.safetensors")
        change(weights)
        save_file(weights, folder / "adapter_model.safetensors")

    return edit


DAMAGES = {
    "base gone": (
        edited(base_model_name_or_path="/nowhere/model"),
        "the base model of {}: expected a folder with a model, or a Hub id, found no folder /nowhere/model; correct ba",
    ),
    "base out of reach": (
        edited(base_model_name_or_path="me/tiny", revision="v1"),
        "the base model of {}: .* found 'me/tiny@v1', which is no folder here and not in the cache, and the Hub out of",
    ),
    "no base": (
        edited(base_model_name_or_path=None),
        "adapter_config.json: expected the name of a base model, found .*; add base_model_name_or_path",
    ),
    "base that is none": (
        lambda folder: (folder.parent / "base" / "config.json").unlink(),
        r"the base model of {}: expected a folder with a config.json, found none in ",
    ),
    "another task": (
        edited(task_type="TOKEN_CLS"),
        "{}/adapter_config.json: expected an adapter for a language model, a classifier of texts or a body, found one "
        "for TOKEN_CLS; open it with peft",
    ),
    "another class": (
        edited(auto_mapping={"base_model_class": "ViTForImageClassification", "parent_library": "transformers"}),
        "found one for ViTForImageClassification",
    ),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "{}/adapter_model.safetensors: expected the weights of an adapter, found No such file",
    ),
    "a weight too few": (
        rewritten(lambda weights: weights.pop(min(weights))),
        r"{}/adapter_model.safetensors: expected the weights of the adapter and no others, found 1 missing \(",
    ),
    "a weight too many": (
        rewritten(lambda weights: weights.update(more=torch.zeros(1))),
        r"expected the weights of the adapter and no others, found 1 extra \(more …\)",
    ),
    "weights of another size": (
        rewritten(lambda weights: weights.update({min(weights): torch.zeros(2, 2)})),
        "expected weights for BertForMaskedLM with 2 outputs, found ",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_adapter_is_told(damage, foreign):
    """By the name that the user gave it."""
    _, folder = foreign(**CASES["masked"])
    break_it, words = DAMAGES[damage]
    break_it(folder)
    with pytest.raises(HfrepError, match=words.format(folder)):
        load_stored(str(folder), AutoModelForMaskedLM)


def test_a_base_of_ours_that_is_out_of_reach_is_told(ours):
    """By its place on the Hub, with the commit, and why it is not to be had."""
    _, folder, base = ours
    shutil.rmtree(base)
    name = f"me/tiny@{'1' * 40}"
    facts = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(facts | {"base": name}))
    words = f"the base model of {folder}: .* found '{name}', which is no folder here and not in the cache, and the Hub"
    with pytest.raises(ConfigError, match=words):
        model_folder(str(folder))


@pytest.mark.filterwarnings("ignore")
def test_weights_that_nobody_trained_are_told(foreign):
    """Its author's pooler was drawn at random and not saved: nobody can open such an adapter as it was."""
    _, folder = foreign(
        "bert",
        AutoModelForSequenceClassification,
        task_type="SEQ_CLS",
        target_modules=["query"],
        opened={"num_labels": 3},
    )
    with pytest.raises(CheckpointError, match=r"found 2 missing \(base_model.model.bert.pooler.dense.bias …\)"):
        model_folder(str(folder))


@pytest.mark.filterwarnings("ignore")
def test_other_heads_are_not_opened(foreign):
    """An adapter for labels of tokens is none of the kinds that are known."""
    _, folder = foreign("bert", AutoModelForTokenClassification, task_type="TOKEN_CLS", target_modules=["query"])
    with pytest.raises(CheckpointError, match="found one for TOKEN_CLS; open it with peft"):
        model_folder(str(folder))


@pytest.mark.filterwarnings("ignore")
def test_pickled_weights_open(foreign):
    """As older versions of peft wrote them."""
    model, folder = foreign(**CASES["masked"])
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    opened = load_stored(str(folder), AutoModelForMaskedLM)
    assert (outputs(opened) - outputs(model)).abs().max() < 1e-5
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04no pickle")
    merging._merged_folder.cache_clear()
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin: expected the weights of an adapter, found "):
        model_folder(str(folder))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["causal", "masked"])
def test_an_adapter_of_others_is_merged_for_good(case, foreign, tmp_path, capsys):
    """recipes/merge.py writes the stock model of its kind."""
    model, folder = foreign(**CASES[case])
    flags = ["--adapter", str(folder), "--output_dir", str(tmp_path / "merged"), "--cpu_threads", "1"]
    assert recipe("merge").main(flags) == 0
    opened = CASES[case]["auto_class"].from_pretrained(tmp_path / "merged" / "model")
    assert (outputs(opened) - outputs(model)).abs().max() < 1e-5
    told = capsys.readouterr().out
    assert f"base       {tmp_path / 'base'}" in told
    assert f"opens it as {type(opened).__name__}" in told
