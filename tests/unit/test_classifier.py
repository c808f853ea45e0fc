"""A stored body with a new head: what is new is known, and labels are met by name."""

import pytest
import torch
from micros import micro
from transformers import (
    AutoModelForMaskedLM,
    BartConfig,
    BartModel,
    BertForSequenceClassification,
    ViTConfig,
    ViTModel,
)

from hfrep.errors import ConfigError
from hfrep.models.classifier import open_classifier, require_text_body

LABELS = ["entailment", "neutral", "contradiction"]


def opened(folder, labels=LABELS, **more):
    torch.manual_seed(0)
    return open_classifier(str(folder), labels=labels, pad_token_id=0, **more)


@pytest.fixture(scope="module")
def bodies(wordpiece, tmp_path_factory):
    """Folders of pretrained models, by preset."""
    folder = tmp_path_factory.mktemp("bodies")
    for name in ("bert-micro", "roberta-micro", "modernbert-micro", "gpt2-micro", "llama-micro"):
        micro(name, wordpiece).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("bert-micro", ("bert.pooler", "classifier")),
        ("roberta-micro", ("classifier",)),
        ("modernbert-micro", ("classifier",)),
        ("gpt2-micro", ("score",)),
        ("llama-micro", ("score",)),
    ],
)
def test_new_modules_are_known(bodies, name, new):
    """What the checkpoint does not have is named by its outermost modules: a pooler too, where pretraining had none."""
    assert opened(bodies / name).new == new


def test_the_body_is_the_stored_one(bodies):
    """Outside of what is new each weight is that of the checkpoint, and the config names the labels."""
    stored, classifier = micro_state(bodies / "bert-micro"), opened(bodies / "bert-micro")
    for key, weight in classifier.model.state_dict().items():
        if not key.startswith(classifier.new):
            assert torch.equal(weight, stored[key]), key
    assert classifier.model.config.id2label == dict(enumerate(LABELS))
    assert classifier.model.config.label2id["neutral"] == 1


def micro_state(folder):
    return AutoModelForMaskedLM.from_pretrained(folder).state_dict()


def test_random_weights_have_the_shape_only(bodies):
    """Drawn at random, the model has the same tensors with other values, hangs on the seed, and has no old weight."""
    first, again = (opened(bodies / "bert-micro", random_weights=True) for _ in range(2))
    stored = opened(bodies / "bert-micro").model.state_dict()
    matrices = {key: weight for key, weight in first.model.state_dict().items() if weight.ndim == 2}
    assert first.model.state_dict().keys() == stored.keys()
    assert not any(torch.equal(weight, stored[key]) for key, weight in matrices.items())
    assert all(torch.equal(weight, again.model.state_dict()[key]) for key, weight in matrices.items())


def test_one_number_is_a_regression(bodies):
    """Without labels there is one output, and the class's own loss is the squared error."""
    config = opened(bodies / "bert-micro", labels=None).model.config
    assert (config.num_labels, config.problem_type) == (1, "regression")


def test_dropout_is_set_on_the_live_modules_only(bodies):
    """The exported config keeps its own share."""
    model = opened(bodies / "bert-micro", dropout=0.3).model
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}
    assert model.config.hidden_dropout_prob == 0.1
    assert {m.p for m in opened(bodies / "bert-micro").model.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (["contradiction", "neutral", "entailment"], "found 0 = contradiction, 1 = neutral, 2 = entailment"),
        (["no", "yes"], "found 0 = no, 1 = yes"),
    ],
    ids=["another order", "other labels"],
)
def test_a_head_for_other_labels_is_refused(bodies, tmp_path, theirs, told):
    """A trained head whose names or order differ is no head for the task: both orders are shown."""
    head_for(bodies, tmp_path, dict(enumerate(theirs)))
    expected = "expected a head for 0 = entailment, 1 = neutral, 2 = contradiction, in this order"
    with pytest.raises(ConfigError, match=f"--model_name_or_path .*: {expected}, {told}; give a model that was"):
        opened(tmp_path)


def test_placeholders_are_no_names(bodies, tmp_path):
    """A head whose labels are called LABEL_0 and so on is taken by its number of labels, and its weights are kept."""
    head = head_for(bodies, tmp_path, {n: f"LABEL_{n}" for n in range(3)})
    classifier = opened(tmp_path)
    assert classifier.new == ()
    assert torch.equal(classifier.model.classifier.weight, head.classifier.weight)
    assert classifier.model.config.id2label[0] == "entailment"


def test_a_trained_head_goes_on(bodies, tmp_path):
    """A head for the same labels in the same order is not drawn anew."""
    head = head_for(bodies, tmp_path, dict(enumerate(LABELS)))
    assert torch.equal(opened(tmp_path).model.classifier.weight, head.classifier.weight)


def head_for(bodies, folder, id2label):
    model = BertForSequenceClassification.from_pretrained(
        bodies / "bert-micro", num_labels=len(id2label), id2label=id2label, label2id={v: k for k, v in id2label.items()}
    )
    model.save_pretrained(folder)
    return model


def test_what_is_no_text_model_is_told(tmp_path, bodies):
    """A folder that the auto class cannot open, or that lacks layers of the body, is one sentence."""
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    ViTModel(ViTConfig(**tiny, image_size=8, patch_size=4)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match="expected weights that AutoModelForSequenceClassification opens, found"):
        opened(tmp_path / "vit")
    model = AutoModelForMaskedLM.from_pretrained(bodies / "bert-micro")
    state = {key: part for key, part in model.state_dict().items() if "layer.0.output" not in key}
    model.save_pretrained(tmp_path / "cut", state_dict=state)
    with pytest.raises(ConfigError, match=r"weights for all of BertForSequenceClassification but its head, found \d+"):
        opened(tmp_path / "cut")


def test_what_texts_cannot_go_through_is_refused(wordpiece, bodies):
    """An encoder with a decoder, or fewer embeddings than tokens, is one sentence."""
    tiny = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1}
    both = BartModel(
        BartConfig(**tiny, decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, vocab_size=200)
    )
    with pytest.raises(ConfigError, match="expected an encoder or a decoder, found BartModel, which is both"):
        require_text_body(both, wordpiece, "bart")
    model = opened(bodies / "bert-micro").model
    model.resize_token_embeddings(100)
    with pytest.raises(ConfigError, match="expected at most the 100 tokens that mine has embeddings for, found 192"):
        require_text_body(model, wordpiece, "mine")
