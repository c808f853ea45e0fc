"""The chunked sum loss of `CausalLM` against the stock classes' own dense loss, in value and in every gradient."""

import micros
import numpy as np
import pytest
import torch
from micros import DECODERS
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from hfrep.models.isolation import RowInputs
from hfrep.models.linear_head import has_linear_head
from hfrep.objectives import linear_loss
from hfrep.objectives.base import IGNORED
from hfrep.objectives.clm import CausalLM, CausalLMCollator

ROWS, LENGTH = 4, 32
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "head_dim": 16,
}


def rows() -> dict[str, np.ndarray]:
    """Rows of up to three segments and padding, words that are none of the special tokens."""
    draw = np.random.default_rng(0)
    segments = np.zeros((ROWS, LENGTH), np.int64)
    for row in range(ROWS):
        first, second = sorted(draw.choice(np.arange(3, LENGTH - 4), 2, replace=False))
        segments[row, :first], segments[row, first:second], segments[row, second : LENGTH - row] = 1, 2, 3
    return {"input_ids": draw.integers(8, 100, (ROWS, LENGTH)), "segments": segments}


def batch() -> dict[str, Tensor]:
    return CausalLMCollator()(rows(), addresses=None)


def stock_loss(model: PreTrainedModel, documents: str, given: dict[str, Tensor]) -> Tensor:
    """Nats by the class itself, which shifts its labels: a label stands at the token that is predicted."""
    labels = torch.full_like(given["input_ids"], IGNORED)
    labels[:, 1:] = given["labels"][:, :-1]
    inputs = RowInputs.of(model, documents)(given["segments"])
    return model(input_ids=given["input_ids"], labels=labels, **inputs).loss * (labels != IGNORED).sum()


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_parity(model: PreTrainedModel, documents: str = "isolate") -> None:
    given, model = batch(), model.train()
    theirs = stock_loss(model, documents, given)
    expected = gradients(model, theirs)
    objective = CausalLM(model, CausalLMCollator(), documents=documents).train()
    ours = objective(given)["clm"]
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    found = gradients(model, ours)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-6, name


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_loss, "CHUNK_LOGITS", 64 * 320)


@pytest.mark.parametrize("documents", ["isolate", "join"])
@pytest.mark.parametrize("name", DECODERS)
def test_chunked_loss_is_the_dense_one(name: str, documents: str, bpe: PreTrainedTokenizerFast) -> None:
    """Value and all gradients to 1e-5, on every decoder preset, over several chunks."""
    assert_parity(micros.micro(name, bpe), documents)


@pytest.mark.parametrize(
    ("model_type", "more", "linear"),
    [
        ("mistral", {}, True),
        ("gemma2", {"final_logit_softcapping": 3.0, "initializer_range": 0.5}, False),
        ("cohere", {"logit_scale": 0.25}, False),
    ],
)
def test_classes_that_change_their_logits_keep_them(model_type: str, more: dict[str, object], linear: bool) -> None:
    """Where a class scales or caps its logits the loss is that of its own logits."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=128, pad_token_id=0, **(SHAPE | more))
    model = AutoModelForCausalLM.from_config(config)
    assert has_linear_head(model) is linear
    assert_parity(model)


@pytest.mark.parametrize("name", DECODERS)
def test_no_logits_are_held(name: str, bpe: PreTrainedTokenizerFast) -> None:
    """In training the output layer multiplies no position; called by itself, the model gives all logits."""
    model = micros.micro(name, bpe).train()
    objective, given = CausalLM(model, CausalLMCollator()).train(), batch()
    seen: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, output: seen.append(output.numel()))
    objective(given)
    assert seen == [0]
    assert model(input_ids=given["input_ids"]).logits.shape == (ROWS, LENGTH, model.config.vocab_size)


@pytest.mark.parametrize("name", DECODERS)
def test_compiles_as_one_graph(name: str, bpe: PreTrainedTokenizerFast) -> None:
    """torch.compile meets no break: masks, positions and the hook are all traced."""
    objective, given = CausalLM(micros.micro(name, bpe), CausalLMCollator()), batch()
    torch._dynamo.reset()
    compiled = torch.compile(objective, backend="eager", fullgraph=True)
    assert compiled(given)["clm"].item() == pytest.approx(objective(given)["clm"].item(), rel=1e-6)


def test_labels_are_the_next_tokens_of_the_segment() -> None:
    """By hand: a segment's first token is never one, its last predicts nothing, padding is not touched."""
    given = {
        "input_ids": np.array([[7, 11, 12, 9, 7, 13, 9, 0, 0]]),
        "segments": np.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]]),
    }
    labels = CausalLMCollator()(given, addresses=None)["labels"]
    assert labels.tolist() == [[11, 12, 9, IGNORED, 13, 9, IGNORED, IGNORED, IGNORED]]


def test_an_end_token_is_a_label_even_where_it_pads() -> None:
    """Labels come from the segments: the end of a document is learned, and padding of the same id is not."""
    given = {"input_ids": np.array([[7, 11, 9, 9, 9]]), "segments": np.array([[1, 1, 1, 0, 0]])}
    batch = CausalLMCollator()(given, addresses=None)
    assert batch["labels"].tolist() == [[11, 9, IGNORED, IGNORED, IGNORED]]


def test_counts_and_guesses(bpe: PreTrainedTokenizerFast) -> None:
    """The count is the number of labels; in eval mode right guesses are those of the class's own logits."""
    model = micros.micro("gpt2-micro", bpe)
    objective, given = CausalLM(model, CausalLMCollator()).eval(), batch()
    assert objective.counts(given)["clm"] == (given["labels"] != IGNORED).sum()
    with torch.no_grad():
        logits = model(input_ids=given["input_ids"], **RowInputs.of(model, "isolate")(given["segments"])).logits
        assert objective(given)["correct"] == (logits.argmax(-1) == given["labels"]).sum()


def test_half_precision_sums_in_float32(bpe: PreTrainedTokenizerFast) -> None:
    """Under autocast the sum stays a float32 and is the float32 one to bfloat16's precision."""
    objective, given = CausalLM(micros.micro("llama-micro", bpe), CausalLMCollator()), batch()
    exact = objective(given)["clm"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = objective(given)["clm"]
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.01)
