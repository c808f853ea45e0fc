"""Features of texts: the stock class's own hidden states, pooled, computed once and kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import sentences
from micros import micro
from transformers import AutoModelForSequenceClassification

from hfrep.data.examples import encode
from hfrep.errors import ConfigError
from hfrep.models import features
from hfrep.models.classifier import open_classifier
from hfrep.models.features import chosen_layers, features_of, module_hash
from hfrep.objectives.class_head import ClassHead

TEXTS = sentences(20, seed=4)
BODIES = ["bert-micro", "roberta-micro", "modernbert-micro", "gpt2-micro", "llama-micro", "gpt-1-micro"]


@pytest.fixture(scope="module")
def body(wordpiece):
    return micro("bert-micro", wordpiece)


@pytest.fixture(scope="module")
def examples(wordpiece):
    return encode(wordpiece, [TEXTS], None, max_length=48)


def hidden(model, tokenizer, text):
    with torch.inference_mode():
        outputs = model.base_model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return outputs.hidden_states


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("cls", lambda states: states[0]),
        ("last", lambda states: states[-1]),
        ("mean", lambda states: states.mean(0)),
        ("max", lambda states: states.amax(0)),
    ],
)
def test_pooling_is_that_of_each_text_alone(body, examples, wordpiece, tmp_path, pooling, pool):
    """In batches with padding each text has the vector that it has by itself, in every layer, whatever the order."""
    made = features_of(body, examples, pooling=pooling, layers=(0, 2), cache=tmp_path, digest="d")
    for number, text in enumerate(TEXTS):
        states = hidden(body, wordpiece, text)
        for place, layer in enumerate((0, 2)):
            assert np.allclose(made.features[number, place], pool(states[layer][0]), atol=1e-6)


def test_the_body_runs_once(body, examples, tmp_path, monkeypatch):
    """Asked for again, features come from the disk; other weights, poolings or layers are computed."""
    calls = []
    monkeypatch.setattr(body, "register_forward_pre_hook", body.register_forward_pre_hook)
    handle = body.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        given = {"pooling": "mean", "layers": (1,), "cache": tmp_path, "digest": "d"}
        first = features_of(body, examples, **given)
        computed = len(calls)
        again = features_of(body, examples, **given)
        assert len(calls) == computed > 0
        assert np.array_equal(first.features, again.features)
        for change in ({"pooling": "max"}, {"layers": (2,)}, {"digest": "e"}):
            before = len(calls)
            features_of(body, examples, **(given | change))
            assert len(calls) > before
    finally:
        handle.remove()


def test_batches_do_not_change_features(body, examples, tmp_path, monkeypatch):
    """However many texts go through the body at once, the vectors are the same to 1e-6."""
    whole = features_of(body, examples, pooling="mean", layers=(2,), cache=tmp_path / "a", digest="d")
    monkeypatch.setattr(features, "BATCH_TOKENS", 1)
    single = features_of(body, examples, pooling="mean", layers=(2,), cache=tmp_path / "b", digest="d")
    assert np.allclose(whole.features, single.features, atol=1e-6)


def test_layers_are_named_by_number(body):
    """All of them, or one from either end; another is told with the range."""
    number = body.config.num_hidden_layers
    assert chosen_layers(body.config, "all") == tuple(range(number + 1))
    assert chosen_layers(body.config, "-1") == (number,)
    assert chosen_layers(body.config, "0") == (0,)
    with pytest.raises(
        ConfigError, match=rf"--layer: expected all, or a number from -{number + 1} to {number} .* found 9"
    ):
        chosen_layers(body.config, "9")


def test_a_hash_knows_each_weight(body):
    """The digest of a module changes with a single weight, and only then."""
    before = module_hash(body)
    assert module_hash(body) == before
    weight = next(body.parameters())
    with torch.no_grad():
        weight.view(-1)[0] += 1
        assert module_hash(body) != before
        weight.view(-1)[0] -= 1


@pytest.mark.parametrize("name", BODIES)
def test_class_head_on_stored_vectors_is_the_class(name, wordpiece, tmp_path):
    """The class's own head on what it was given computes what the whole class computes, for encoders and decoders."""
    micro(name, wordpiece).save_pretrained(tmp_path / "body")
    torch.manual_seed(0)
    classifier = open_classifier(str(tmp_path / "body"), labels=["a", "b", "c"], pad_token_id=wordpiece.pad_token_id)
    examples = encode(wordpiece, [TEXTS], None, max_length=48)
    stored = features_of(
        classifier.model, examples, pooling="class_head", layers=(), cache=tmp_path, digest=name, new=classifier.new
    )
    taken = examples.take(np.arange(20))
    with torch.inference_mode():
        whole = classifier.model(
            torch.from_numpy(taken["input_ids"]), attention_mask=torch.from_numpy(taken["attention_mask"])
        ).logits
        head = ClassHead(classifier, regression=False).eval()
        ours = head.logits({"features": torch.from_numpy(stored.take(np.arange(20))["features"])})[:, 0]
    assert torch.allclose(ours, whole, atol=1e-5)
    assert isinstance(head.kept, AutoModelForSequenceClassification._model_mapping[type(head.kept.config)])


def test_stored_vectors_of_another_head_are_others(wordpiece, tmp_path):
    """ModernBERT's pretrained head stands between body and classifier: two that differ there share no features."""
    examples = encode(wordpiece, [TEXTS], None, max_length=48)
    made = []
    for number in range(2):
        model = micro("modernbert-micro", wordpiece)
        with torch.no_grad():
            model.head.dense.weight.mul_(1 + number)
        model.save_pretrained(tmp_path / str(number))
        torch.manual_seed(number)  # of the new modules, which are no part of it
        classifier = open_classifier(str(tmp_path / str(number)), labels=["a", "b"], pad_token_id=0)
        digest = module_hash(classifier.model, without=classifier.new)
        made.append((digest, examples, classifier))
    assert made[0][0] != made[1][0]
    torch.manual_seed(5)
    again = open_classifier(str(tmp_path / "0"), labels=["a", "b"], pad_token_id=0)
    assert module_hash(again.model, without=again.new) == made[0][0]


def test_a_class_head_reads_the_last_token_that_is_no_padding(bpe, tmp_path):
    """Where the pad token also ends texts, the class looks before it, and so do the stored vectors."""
    micro("gpt2-micro", bpe).save_pretrained(tmp_path / "body")
    ended = [f"{text}</s>" for text in TEXTS]
    examples = replace(encode(bpe, [ended], None, max_length=64), pad=bpe.eos_token_id)
    classifier = open_classifier(str(tmp_path / "body"), labels=["a", "b"], pad_token_id=bpe.eos_token_id)
    stored = features_of(
        classifier.model, examples, pooling="class_head", layers=(), cache=tmp_path, digest="d", new=classifier.new
    )
    taken = examples.take(np.arange(20))
    inputs = {name: torch.from_numpy(taken[name]) for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        whole = classifier.model(**inputs).logits
        head = ClassHead(classifier, regression=False).eval()
        ours = head.logits({"features": torch.from_numpy(stored.take(np.arange(20))["features"])})[:, 0]
    assert torch.allclose(ours, whole, atol=1e-5)


def test_a_class_head_that_is_trained_already_is_refused(wordpiece, tmp_path):
    """Without new modules there is nothing to train on stored vectors."""
    examples = encode(wordpiece, [TEXTS], None, max_length=48)
    model = micro("bert-micro", wordpiece)
    with pytest.raises(ConfigError, match="--pooling class_head: expected a model whose head is yet to be trained"):
        features_of(model, examples, pooling="class_head", layers=(), cache=tmp_path, digest="d", new=())


def test_a_part_needs_no_second_run_of_the_body(body, examples, tmp_path):
    """What is held out, and the rest, are read from the features of the whole."""
    given = {"pooling": "mean", "layers": (1,), "cache": tmp_path, "digest": "d"}
    whole = features_of(body, examples, **given)
    rows = np.array([1, 5, 19])
    part = features_of(None, examples.part(rows), **given)
    assert np.array_equal(part.take(np.array([2, 0]))["features"], whole.features[[19, 1]])
    assert len(part) == 3
