"""What an adapter is put on, what it saves, and what it opens again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from checkpoints import CARD, KINDS, checkpoint
from conftest import sentences
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import ElectraConfig, ElectraForMaskedLM, FNetConfig, FNetForMaskedLM

from hfrep.adaptation.adapters import AdapterSettings, add_adapter, save_adapter
from hfrep.errors import HfrepError
from hfrep.models.adapter_files import open_adapter
from hfrep.models.base_weights import Weights, weight_files
from hfrep.models.classifier import open_classifier
from hfrep.models.merging import merge
from hfrep.settings import parse

LABELS = ("no", "maybe", "yes")
LORA_LAYERS = {
    "bert": ("attention.self.query attention.self.key attention.self.value attention.output.dense intermediate.dense "
             "output.dense").split(),
    "roberta": ("attention.self.query attention.self.key attention.self.value attention.output.dense "
                "intermediate.dense output.dense").split(),
    "modernbert": "attn.Wqkv attn.Wo mlp.Wi mlp.Wo".split(),
    "distilbert": "attention.q_lin attention.k_lin attention.v_lin attention.out_lin ffn.lin1 ffn.lin2".split(),
    "gpt2": "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj".split(),
    "llama": ("self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj "
              "mlp.down_proj").split(),
}  # fmt: skip
IA3_LAYERS = {  # what scales outputs, and the feed-forward layer whose inputs are scaled
    "bert": ("attention.self.key attention.self.value", "output.dense"),
    "roberta": ("attention.self.key attention.self.value", "output.dense"),
    "modernbert": ("attn.Wqkv", "mlp.Wo"),
    "distilbert": ("attention.k_lin attention.v_lin", "ffn.lin2"),
    "gpt2": ("attn.c_attn", "mlp.c_proj"),
    "llama": ("self_attn.k_proj self_attn.v_proj", "mlp.down_proj"),
}
BLOCKS = {
    "bert": "bert.encoder.layer",
    "roberta": "roberta.encoder.layer",
    "modernbert": "model.layers",
    "distilbert": "distilbert.transformer.layer",
    "gpt2": "transformer.h",
    "llama": "model.layers",
}
NEW = {
    "bert": ("bert.pooler", "classifier"),
    "roberta": ("classifier",),
    "modernbert": ("classifier",),
    "distilbert": ("pre_classifier", "classifier"),
    "gpt2": ("score",),
    "llama": ("score",),
}


@pytest.fixture(scope="module")
def bases(wordpiece, tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {kind: checkpoint(kind, wordpiece, root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def inputs(wordpiece):
    encoded = wordpiece(sentences(3, seed=3), padding=True, truncation=True, max_length=40, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


@pytest.fixture
def base(wordpiece, tmp_path, monkeypatch):
    """A base model of its own in ``runs``, which a test may move or change."""
    monkeypatch.chdir(tmp_path)
    return checkpoint("bert", wordpiece, tmp_path / "runs" / "mlm" / "model")


@pytest.fixture
def adapter(base, wordpiece, tmp_path):
    """A changed adapter on `base`, and its folder."""
    model = changed(added(base, wordpiece))
    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    return model, tmp_path / "adapter"


def opened(base, tokenizer, labels=LABELS):
    torch.manual_seed(1)
    return open_classifier(str(base), labels=labels, pad_token_id=tokenizer.pad_token_id)


def added(base, tokenizer, labels=LABELS, **settings):
    return add_adapter(opened(base, tokenizer, labels), AdapterSettings(**settings), base=str(base))


def changed(model):
    """`model` with other weights in all that it trains."""
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad:
                part.add_(torch.randn_like(part) * 0.3)
    return model


def method(folder, **fields):
    """Settings for a peft_config of `fields`."""
    file = folder / "method.json"
    file.write_text(json.dumps(fields))
    return {"peft_config": str(file)}


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


def adapted(model):
    return set(model.base_model.targeted_module_names)


def layers(kind, names):
    return {f"{BLOCKS[kind]}.{layer}.{name}" for layer in range(2) for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_lora_at_step_0_is_the_base(kind, bases, inputs, wordpiece):
    """Its second matrix is zero, so that it changes nothing before training."""
    model = added(bases[kind], wordpiece)
    assert torch.equal(logits(model, inputs), logits(opened(bases[kind], wordpiece).model, inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_lora_is_put_on_all_linear_layers_of_the_blocks(kind, bases, wordpiece):
    """For kinds that peft knows no targets for too, by default and as all-linear; not on embeddings, pooler or head."""
    model = added(bases[kind], wordpiece)
    assert adapted(model) == layers(kind, LORA_LAYERS[kind])
    assert model.peft_config["default"].fan_in_fan_out == (kind == "gpt2")
    assert adapted(added(bases[kind], wordpiece, lora_target_modules=["all-linear"])) == adapted(model)


@pytest.mark.parametrize("kind", KINDS)
def test_ia3_scales_keys_values_and_the_second_feed_forward_layer(kind, bases, wordpiece, tmp_path):
    """What it multiplies are outputs of the first and inputs of the second, told apart by shape."""
    outputs, second = IA3_LAYERS[kind]
    model = added(bases[kind], wordpiece, **method(tmp_path, peft_type="IA3"))
    assert adapted(model) == layers(kind, [*outputs.split(), second])
    assert model.peft_config["default"].feedforward_modules == layers(kind, [second])


def test_ia3_on_given_targets(bases, wordpiece, tmp_path):
    """Which of them are feed-forward layers need not be said."""
    given = method(tmp_path, peft_type="IA3", target_modules=["output.dense", "key"])
    model = added(bases["bert"], wordpiece, **given)
    assert adapted(model) == layers("bert", ["attention.output.dense", "output.dense", "attention.self.key"])
    assert model.peft_config["default"].feedforward_modules == layers("bert", ["output.dense"])


@pytest.mark.parametrize("kind", KINDS)
def test_ln_tuning_trains_the_norms_of_the_body(kind, bases, wordpiece, tmp_path):
    """All modules of the body whose weights are vectors, and no other."""
    model = added(bases[kind], wordpiece, **method(tmp_path, peft_type="LN_TUNING"))
    bare = opened(bases[kind], wordpiece).model
    body = f"{bare.base_model_prefix}."
    vectors = {name.rpartition(".")[0] for name, part in bare.named_parameters() if name.endswith("orm.weight")}
    vectors |= {name.rpartition(".")[0] for name, part in bare.named_parameters() if re.search(r"ln_\w+\.weight", name)}
    vectors |= {name.rpartition(".")[0] for name, _ in bare.named_parameters() if "layernorm.weight" in name}
    assert adapted(model) == {name for name in vectors if name.startswith(body)}
    assert len(adapted(model)) == 5


def test_many_targets_are_shortened_and_still_the_same(wordpiece, tmp_path):
    """peft cuts long lists of names to their ends; the ends match the layers of the blocks and not the pooler."""
    base = checkpoint("bert", wordpiece, tmp_path / "deep", num_hidden_layers=5)
    model = added(base, wordpiece)
    assert len(model.peft_config["default"].target_modules) < len(adapted(model)) == 5 * 6
    assert not any("pooler" in name or "embeddings" in name for name in adapted(model))


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_new_is_trained_and_saved(kind, bases, wordpiece, tmp_path):
    """A pooler that pretraining had none of would otherwise stay random, frozen and outside of the adapter."""
    classifier = opened(bases[kind], wordpiece)
    assert classifier.new == NEW[kind]
    model = add_adapter(classifier, AdapterSettings(), base=str(bases[kind]))
    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for name in NEW[kind]:
        trained = [part for key, part in model.named_parameters() if f".{name}.modules_to_save." in key]
        assert trained
        assert all(part.requires_grad for part in trained)
        assert sum(key.startswith(f"base_model.model.{name}.") for key in stored) == len(trained)


def test_what_is_in_the_folder(adapter, base):
    """A stock peft folder with tokenizer, card and labels; no config.json, which would break the auto classes."""
    _, folder = adapter
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "labels.json"} <= names
    assert "config.json" not in names
    assert "# An adapter\n" in (folder / "README.md").read_text()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert (config["task_type"], config["lora_alpha"], config["r"]) == ("SEQ_CLS", 16, 8)
    assert config["modules_to_save"] == ["bert.pooler", "classifier", "score"]
    facts = json.loads((folder / "labels.json").read_text())
    assert (facts["labels"], facts["num_labels"], facts["base"]) == (list(LABELS), 3, str(base))
    assert facts["base_bytes"] == (base / "model.safetensors").stat().st_size


def test_a_relative_base_is_named_by_its_whole_path(base, wordpiece):
    """Wherever it is opened from, the adapter finds it."""
    model = added(Path("runs/mlm/model"), wordpiece)
    assert model.peft_config["default"].base_model_name_or_path == str(base)
    assert model.base_model.model.name_or_path == model.config._name_or_path == str(base)


def test_other_settings_reach_peft(bases, wordpiece):
    """Rank, scale, dropout and names of modules are those given on the command line."""
    flags = "--lora_r 3 --lora_alpha 6 --lora_dropout 0.1 --lora_target_modules query attention.output.dense".split()
    (settings,) = parse(AdapterSettings, argv=flags)
    model = add_adapter(opened(bases["bert"], wordpiece), settings, base=str(bases["bert"]))
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 6, 0.1)
    assert adapted(model) == layers("bert", ["attention.self.query", "attention.output.dense"])


REOPEN = """
import json, sys
sys.modules["hfrep"] = None
import torch
from peft import AutoPeftModelForSequenceClassification, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
torch.set_num_threads(1)
for folder, base, settings in json.load(sys.stdin):
    probe = load_file(f"{folder}/probe")
    logits = probe.pop("logits")
    bare = AutoModelForSequenceClassification.from_pretrained(base, **settings)
    for model in (
        PeftModel.from_pretrained(bare, folder),
        AutoPeftModelForSequenceClassification.from_pretrained(folder, **settings),
    ):
        assert len(AutoTokenizer.from_pretrained(folder)) == 192
        with torch.inference_mode():
            print(float((model.eval()(**probe).logits - logits).abs().max()))
"""


def test_a_fresh_process_without_hfrep_opens_adapters(bases, inputs, wordpiece, tmp_path):
    """By peft's two ways, for 1, 2 and 3 labels, and for a decoder whose config does not know the padding."""
    no_pad = checkpoint("gpt2", wordpiece, tmp_path / "no_pad")
    config = json.loads((no_pad / "config.json").read_text())
    (no_pad / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    cases = []
    for number, (base, labels, settings) in enumerate(
        [
            (bases["bert"], None, {}),
            (bases["bert"], LABELS[:2], {}),
            (bases["modernbert"], LABELS, {}),
            (no_pad, LABELS, {"pad_token_id": wordpiece.pad_token_id}),
        ]
    ):
        folder = tmp_path / str(number)
        model = changed(added(base, wordpiece, labels))
        save_adapter(model, wordpiece, folder, labels=labels, card=CARD)
        reopened, tokenizer = open_adapter(folder)
        computed = logits(model, inputs)
        assert torch.equal(logits(reopened, inputs), computed)
        assert tokenizer.get_vocab() == wordpiece.get_vocab()
        assert not any(part.requires_grad for part in reopened.parameters())
        save_file(inputs | {"logits": computed}, folder / "probe")
        cases.append((str(folder), str(base), {"num_labels": computed.shape[1], **settings}))
    run = subprocess.run(
        [sys.executable, "-c", REOPEN], input=json.dumps(cases), capture_output=True, text=True, check=False, cwd="/"
    )
    assert run.returncode == 0, run.stderr
    differences = list(map(float, run.stdout.split()))
    assert len(differences) == 2 * len(cases)
    assert max(differences) < 1e-6


def test_a_reopened_adapter_knows_its_labels(adapter, base):
    """Its configuration has their names, and names the base."""
    model, _ = open_adapter(adapter[1])
    assert tuple(model.config.id2label.values()) == LABELS
    assert model.peft_config["default"].base_model_name_or_path == str(base)


def test_a_moved_base_is_found_by_its_weights(adapter, base, inputs, wordpiece):
    """Anywhere below runs; another model of the same size there is passed over; saved again, it names the new place."""
    model, folder = adapter
    base.rename("runs/elsewhere")
    other = checkpoint("bert", wordpiece, base)
    weights = load_file(other / "model.safetensors")
    save_file({name: part + 1 for name, part in weights.items()}, other / "model.safetensors", {"format": "pt"})
    assert Weights.of(other).size == Weights.of(Path("runs/elsewhere")).size
    reopened, tokenizer = open_adapter(folder)
    assert torch.equal(logits(reopened, inputs), logits(model, inputs))
    save_adapter(reopened, tokenizer, folder, labels=LABELS, card=CARD)
    assert json.loads((folder / "labels.json").read_text())["base"] == str(Path("runs/elsewhere").resolve())


def test_a_base_that_is_named(adapter, base, inputs):
    """One that lies where nobody would look is opened from where --base says."""
    model, folder = adapter
    base.rename("moved")
    reopened, _ = open_adapter(folder, "moved")
    assert torch.equal(logits(reopened, inputs), logits(model, inputs))
    assert reopened.peft_config["default"].base_model_name_or_path == str(Path("moved").resolve())


@pytest.mark.parametrize("place", ["moved", "runs/.aside", "runs/1/2/3/4/5/6/7"])
def test_a_base_that_is_not_found_is_told(adapter, base, place):
    """Outside of runs, in hidden folders and far below, nothing is searched; the sentence says what to do."""
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    base.rename(place)
    with pytest.raises(HfrepError) as told:
        open_adapter(adapter[1])
    assert str(told.value) == (
        f"the base model of {adapter[1]}: expected the weights it was trained on, in {base} or in a folder below runs, "
        "found none with their digest; say where that model is now, with --base of recipes/merge.py."
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("other", r"--base other: expected the weights that .*adapter was trained on \(digest \w{12}…\), found others"),
        ("nowhere", "--base: expected a folder, or a Hub id .*, found 'nowhere', which is no folder here and not in"),
        ("./no where", "--base: expected a folder with a model, or a Hub id, found no folder ./no where; correct the"),
        ("empty", r"empty: expected the weights of the base model, found no model.safetensors or pytorch_model.bin"),
    ],
)
def test_a_wrong_base_is_told(adapter, wordpiece, given, words):
    """An adapter on other weights would compute something, and nothing of worth."""
    checkpoint("bert", wordpiece, Path("other"), hidden_act="relu", num_hidden_layers=1)
    Path("empty").mkdir()
    with pytest.raises(HfrepError, match=words):
        open_adapter(adapter[1], given)


def test_a_base_on_the_hub(base, wordpiece, inputs, tmp_path, monkeypatch):
    """It is named by its id and commit, and opened from the cache when the network is out of reach."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "cache" / "models--me--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    (cached / "snapshots").mkdir()
    base.rename(cached / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    model = changed(added("me/tiny", wordpiece))
    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("me/tiny", commit)
    for base_given in (None, "me/tiny"):
        reopened, _ = open_adapter(tmp_path / "adapter", base_given)
        assert torch.equal(logits(reopened, inputs), logits(model, inputs))
    assert open_adapter(tmp_path / "adapter")[0].peft_config["default"].base_model_name_or_path == "me/tiny"


def test_weights_in_shards_and_older_formats(tmp_path):
    """All shards count, in the order of names; .bin files where there are no others; what lies beside does not."""
    for name in ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "training_args.bin"):
        (tmp_path / name).write_bytes(name.encode())
    assert [path.name for path in weight_files(tmp_path)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    sharded = Weights.of(tmp_path)
    assert sharded.size == 64
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"x" * 32)
    assert Weights.of(tmp_path).digest != sharded.digest
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    (tmp_path / "pytorch_model.bin").touch()
    assert [path.name for path in weight_files(tmp_path)] == ["pytorch_model.bin"]


def rewritten(folder, change):
    """Write the adapter's weights anew after `change`."""
    weights = load_file(folder / "adapter_model.safetensors")
    change(weights)
    save_file(weights, folder / "adapter_model.safetensors")


def two_labels(folder):
    facts = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(facts | {"labels": ["no", "yes"]}))


FIRST = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
DAMAGES = {
    "no lora": (
        lambda folder: rewritten(folder, lambda weights: weights.pop(FIRST)),
        r"expected the weights of the adapter and no others, found 1 missing \(.*query.lora_A.weight …\)",
    ),
    "no head": (
        lambda folder: rewritten(folder, lambda weights: weights.pop("base_model.model.classifier.bias")),
        "expected all weights of the adapter, found none called 'base_model.model.classifier.bias'",
    ),
    "one too many": (
        lambda folder: rewritten(folder, lambda weights: weights.update({f"{FIRST}.x": torch.zeros(1)})),
        r"found 1 extra \(.*lora_A.weight.x …\); restore it, or train the adapter again",
    ),
    "another shape": (
        lambda folder: rewritten(folder, lambda weights: weights.update({FIRST: torch.zeros(4, 16)})),
        "expected weights for BertForSequenceClassification with 3 outputs, found .*size mismatch",
    ),
    "other labels": (two_labels, "expected weights for BertForSequenceClassification with 2 outputs, found .*size"),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "adapter_model.safetensors: expected the weights of an adapter, found No such file",
    ),
    "broken weights": (
        lambda folder: (folder / "adapter_model.safetensors").write_text("?"),
        "adapter_model.safetensors: expected the weights of an adapter, found ",
    ),
    "broken labels": (
        lambda folder: (folder / "labels.json").write_text("{}"),
        "labels.json: expected what save_adapter wrote, found 'labels'; restore the file",
    ),
    "broken config": (
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        "adapter_config.json: expected a configuration that peft reads, found ",
    ),
    "no config": (
        lambda folder: (folder / "adapter_config.json").unlink(),
        "adapter: expected an adapter_config.json, found none; give the folder of an adapter",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_adapter_is_told(adapter, damage):
    """What peft would warn of, or not notice, is one sentence."""
    break_it, words = DAMAGES[damage]
    break_it(adapter[1])
    with pytest.raises(HfrepError, match=words):
        open_adapter(adapter[1])


def test_the_folder_above_is_told_with_the_right_one(adapter):
    """The sentence names the folder that was meant."""
    with pytest.raises(HfrepError, match=f"expected an adapter_config.json, found none; give {adapter[1]}"):
        open_adapter(adapter[1].parent)


def test_a_base_that_is_gone_when_the_adapter_is_saved(base, wordpiece, tmp_path):
    """There is nothing left to tell its weights by."""
    model = added(base, wordpiece)
    base.rename("moved")
    with pytest.raises(HfrepError, match=r"expected a folder with a model, or a Hub id, found no folder .*/model;"):
        save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora_r": 0}, "--lora_r: expected 1 or more, found 0; correct it"),
        ({"lora_alpha": 0}, "--lora_alpha: expected 1 or more, found 0; correct it"),
        ({"lora_dropout": 1.0}, "--lora_dropout: expected a share in [0, 1), found 1.0; correct it"),
        (
            {"lora_r": 4, "peft_config": "x.json"},
            "--lora_r: expected it in the file, where --peft_config is given, found 4; leave one of the two out",
        ),
    ],
)
def test_settings_out_of_range(settings, words):
    """Told before a model is opened."""
    with pytest.raises(HfrepError, match=re.escape(words)):
        AdapterSettings(**settings)


ENDS = "names of modules in BertForSequenceClassification, such as dense, key, query, value"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (None, "method.json: expected a JSON file, found "),
        ("{", "method.json: expected a JSON file, found "),
        ([], "method.json: expected a JSON object, found a list; correct the file"),
        ({}, "expected a peft_type that peft knows, found None"),
        ({"peft_type": []}, "expected a peft_type that peft knows, found []"),
        ({"peft_type": "lora"}, "expected a peft_type that peft knows, found 'lora'; did you mean LORA?"),
        ({"peft_type": "LORA", "rank": 8}, "expected fields of LORA, found 'rank'; did you mean "),
        ({"peft_type": "LORA", "use_dor": True}, "expected fields of LORA, found 'use_dor'; did you mean use_dora?"),
        ({"peft_type": "LORA", "r": 0}, "found LORA, of which it says: `r` should be a positive integer"),
        ({"peft_type": "CPT"}, "expected values that CPT takes, found CPTConfig only supports"),
        ({"peft_type": "PREFIX_TUNING"}, "expected num_virtual_tokens, 1 or more, found none; add it"),
        ({"peft_type": "LORA", "init_lora_weights": "eva"}, "found LORA eva, which is found from data by calls"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa_niter_16"}, "found LORA pissa_niter, which splits"),
        ({"peft_type": "ADALORA", "total_step": 9}, "found ADALORA, which moves its ranks only if told of each step"),
        ({"peft_type": "TRAINABLE_TOKENS"}, "found TRAINABLE_TOKENS, which cannot train and save a new head beside it"),
        (
            {"peft_type": "POLY"},
            "expected a method that peft can add to BertForSequenceClassification, found POLY, of ",
        ),
        ({"peft_type": "LORA", "target_modules": "("}, "target_modules: expected names or a regular expression, found"),
        ({"peft_type": "LORA", "target_modules": ".*qery"}, f"{ENDS}, found .*qery, which match nothing that may be"),
        ({"peft_type": "LORA", "target_modules": ["qery", "key"]}, f"{ENDS}, found qery, which match nothing"),
        ({"peft_type": "LORA", "target_modules": ["classifier"]}, f"{ENDS}, found classifier, which match nothing"),
        ({"peft_type": "LN_TUNING", "target_modules": ["norm"]}, "such as LayerNorm, found norm, which match nothing"),
        (
            {"peft_type": "LORA", "target_modules": ["word_embeddings"]},
            "expected no embeddings in a model whose input and output embeddings are one, found bert.embeddings.word_",
        ),
    ],
)
def test_a_method_that_does_not_fit_is_told(fields, words, bases, wordpiece, tmp_path):
    """Unreadable, unknown, incomplete, refused by us or by peft: one sentence, with the nearest name where there is."""
    given = {"peft_config": str(tmp_path / "method.json")}
    if isinstance(fields, str):
        (tmp_path / "method.json").write_text(fields)
    elif fields is not None:
        (tmp_path / "method.json").write_text(json.dumps(fields))
    with pytest.raises(HfrepError, match=re.escape(words)):
        added(bases["bert"], wordpiece, **given)


def test_models_without_what_is_adapted(wordpiece, tmp_path):
    """No blocks for LoRA, and no attention for IA3 to find keys and values in."""
    base = checkpoint("bert", wordpiece, tmp_path / "flat", num_hidden_layers=0)
    with pytest.raises(HfrepError, match="such as linear layers, found none; choose another model or method"):
        added(base, wordpiece)
    config = FNetConfig(vocab_size=192, hidden_size=16, num_hidden_layers=1, intermediate_size=32)
    FNetForMaskedLM(config).save_pretrained(tmp_path / "fnet")
    with pytest.raises(HfrepError, match="found none such in FNetForSequenceClassification; name them as target_mod"):
        added(tmp_path / "fnet", wordpiece, **method(tmp_path, peft_type="IA3"))


def test_prompts_are_as_wide_as_the_embeddings(wordpiece, inputs, tmp_path):
    """In some kinds of models those are narrower than the layers."""
    config = ElectraConfig(vocab_size=192, embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    ElectraForMaskedLM(config).save_pretrained(tmp_path / "electra")
    prompts = method(tmp_path, peft_type="PROMPT_TUNING", num_virtual_tokens=2)
    model = added(tmp_path / "electra", wordpiece, **prompts)
    assert model.prompt_encoder["default"].embedding.weight.shape == (2, 8)
    assert logits(model, inputs).shape == (3, 3)


def test_untied_embeddings_may_be_adapted(wordpiece, inputs, tmp_path):
    """The adapter then has its own two matrices and not the embeddings."""
    base = checkpoint("llama", wordpiece, tmp_path / "base", tie_word_embeddings=False)
    model = changed(added(base, wordpiece, lora_target_modules=["embed_tokens"]))
    save_adapter(model, wordpiece, tmp_path / "adapter", labels=LABELS, card=CARD)
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(stored) == 3
    reopened, _ = open_adapter(tmp_path / "adapter")
    assert torch.equal(logits(reopened, inputs), logits(model, inputs))


def test_a_file_of_another_adapter_is_a_method(adapter, base, inputs, wordpiece):
    """An adapter_config.json serves as it is: its base, its task and that it was closed for training do not count."""
    file = adapter[1] / "adapter_config.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"task_type": "CAUSAL_LM", "base_model_name_or_path": "x", "revision": "y"}))
    model = added(base, wordpiece, peft_config=str(file))
    config = model.peft_config["default"]
    assert (config.task_type, config.base_model_name_or_path, config.revision) == ("SEQ_CLS", str(base), None)
    assert any(part.requires_grad for part in model.parameters())
    assert torch.equal(logits(model, inputs), logits(opened(base, wordpiece).model, inputs))


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("bert", {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2}, "PREFIX_TUNING: prompts are no weights"),
        ("llama", {"peft_type": "BEFT"}, "found BEFT: Base layer has no bias"),
    ],
)
def test_what_cannot_be_merged_is_told(kind, fields, words, bases, inputs, wordpiece, tmp_path):
    """What adds something else than weights stays an adapter."""
    model = added(bases[kind], wordpiece, **method(tmp_path, **fields))
    with pytest.raises(HfrepError, match=words):
        merge(model, inputs)


def test_a_merge_that_changes_what_is_computed_is_told(bases, inputs, wordpiece, monkeypatch):
    """Whatever peft does, the two are compared."""
    model = changed(added(bases["bert"], wordpiece))
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(HfrepError, match="the adapter, merged: expected outputs as the adapter's to "):
        merge(model, inputs)
