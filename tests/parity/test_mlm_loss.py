"""The sparse sum loss of `MaskedLM` against the stock classes' own dense loss, in value and in every gradient."""

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from hfrep.models.presets import ModelSettings, build_model
from hfrep.models.sparse_head import SparseHead
from hfrep.objectives.base import Batch
from hfrep.objectives.mlm import MaskedLM

ROWS, LENGTH, TARGETS, CAPACITY = 4, 32, 50, 64
MICROS = ["bert-micro", "roberta-micro", "modernbert-micro"]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
OTHERS = {
    "electra": SHAPE | {"embedding_size": 16},
    "albert": SHAPE | {"embedding_size": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "mpnet": SHAPE,
    "esm": SHAPE | {"pad_token_id": 1, "mask_token_id": 4, "token_dropout": False},
    "ibert": SHAPE,
    "luke": SHAPE | {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mobilebert": SHAPE | {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
}


def rows_collated_elsewhere(*_: object) -> dict[str, Tensor]:
    """Stands for the collator: the batches of this file are made by hand."""
    raise AssertionError


def objective(model: PreTrainedModel, documents: str = "isolate") -> MaskedLM:
    return MaskedLM(model, rows_collated_elsewhere, documents=documents)


def micro(name: str, tokenizer: PreTrainedTokenizerFast, **settings: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    shape = ModelSettings(model=name, **settings)
    return build_model(shape, tokenizer=tokenizer, sequence_length=LENGTH).train()


def batch(rows: int = ROWS) -> dict[str, Tensor]:
    """Packed rows with 50 targets of 64 slots."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(8, 128, (rows, LENGTH), generator=generator)
    segments = torch.tensor([1] * 12 + [2] * 17 + [0] * 3).expand(rows, -1).clone()
    positions, labels = torch.zeros(CAPACITY, dtype=torch.long), torch.full((CAPACITY,), -100)
    real = (segments > 0).flatten().nonzero()[:, 0]
    positions[:TARGETS] = real[torch.randperm(len(real), generator=generator)[:TARGETS]].sort().values
    labels[:TARGETS] = torch.randint(8, 128, (TARGETS,), generator=generator)
    return {"input_ids": input_ids, "segments": segments, "label_positions": positions, "labels": labels}


def dense_labels(given: Batch) -> Tensor:
    """The labels as the stock collator lays them out [b, L]."""
    dense = torch.full(given["input_ids"].shape, -100)
    dense.view(-1)[given["label_positions"][:TARGETS]] = given["labels"][:TARGETS]
    return dense


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    made = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    return made


def assert_sparse_is_dense(model: PreTrainedModel, documents: str) -> None:
    mlm, given = objective(model, documents), batch()
    total = mlm(given)["mlm"]
    total.backward()
    sparse = gradients(model)
    inputs = mlm._row_inputs(given["segments"])
    mean = model(input_ids=given["input_ids"], labels=dense_labels(given), **inputs).loss
    # Bert's own loss is a mean over the batch it is given (D1).
    (mean * TARGETS).backward()
    dense = gradients(model)
    assert total.item() == pytest.approx(mean.item() * TARGETS, rel=1e-5)
    assert sparse.keys() == dense.keys()
    for name, gradient in dense.items():
        scale = gradient.abs().max()
        assert (sparse[name] - gradient).abs().max() <= 1e-5 * scale + 1e-7, name


@pytest.mark.parametrize("documents", ["isolate", "join"])
@pytest.mark.parametrize("name", MICROS)
def test_sparse_loss_is_the_dense_one(name: str, documents: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Loss and all gradients equal those of the stock class's own loss, for each family of presets."""
    assert_sparse_is_dense(micro(name, wordpiece), documents)


@pytest.mark.parametrize("model_type", OTHERS)
def test_sparse_loss_is_the_dense_one_in_other_architectures(model_type: str) -> None:
    """Heads of other make work alike: with a bias outside the output layer (esm), without a call of it (mobilebert),
    behind a body that cuts rows to their length (luke) or gives tuples (ibert)."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=128, **OTHERS[model_type])
    documents = "join" if model_type in ("esm", "luke") else "isolate"  # these take no masks by pairs of tokens
    assert_sparse_is_dense(AutoModelForMaskedLM.from_config(config).eval(), documents)


@pytest.mark.parametrize("name", MICROS)
def test_vocabulary_is_projected_at_labels_only(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """The output layer is given one row per slot of the capacity, not one per token, and multiplies none itself."""
    model, given, made = micro(name, wordpiece), [], []
    output = model.get_output_embeddings()
    output.register_forward_pre_hook(lambda _, inputs: given.append(tuple(inputs[0].shape)))
    output.register_forward_hook(lambda _, inputs, logits: made.append(logits.numel()))
    mlm = objective(model)
    given.clear()
    made.clear()
    mlm(batch())
    assert given == [(1, CAPACITY, output.in_features)]
    assert made == [0]


@pytest.mark.parametrize("name", ["bert-micro", "roberta-micro"])
def test_the_last_feed_forward_network_runs_at_labels_only(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """It sees one row per slot of the capacity, the others one per token."""
    model, seen = micro(name, wordpiece), []
    mlm = objective(model)
    for layer in model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[:2])))
    mlm(batch())
    assert seen == [*[(ROWS, LENGTH)] * (len(model.base_model.encoder.layer) - 1), (1, CAPACITY)]


def test_a_layer_that_is_built_otherwise_runs_whole(wordpiece: PreTrainedTokenizerFast) -> None:
    """Where choosing early would give other logits, positions are chosen behind the backbone."""
    model = micro("bert-micro", wordpiece).eval()
    last = model.bert.encoder.layer[-1]
    last.feed_forward_chunk = lambda states: states - states.mean(1, keepdim=True)  # looks at all positions
    given = batch()
    dense = model(input_ids=given["input_ids"]).logits.flatten(0, 1)[given["label_positions"]]
    sparse = SparseHead(model).logits(given["label_positions"], input_ids=given["input_ids"])
    torch.testing.assert_close(sparse, dense)


@pytest.mark.parametrize("name", MICROS)
def test_sparse_logits_are_those_of_the_stock_class(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Scoring gets the scores that the class itself gives at chosen positions."""
    model, given = micro(name, wordpiece), batch()
    dense = model(input_ids=given["input_ids"]).logits
    sparse = SparseHead(model).logits(given["label_positions"], input_ids=given["input_ids"])
    torch.testing.assert_close(sparse, dense.flatten(0, 1)[given["label_positions"]])


@pytest.mark.parametrize("name", MICROS)
def test_correct_are_those_that_the_stock_class_guesses(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Evaluation counts the labels that have the class's highest score; slots that only fill up count as none."""
    model, given = micro(name, wordpiece).eval(), batch()
    mlm = objective(model).eval()
    dense = model(input_ids=given["input_ids"], **mlm._row_inputs(given["segments"])).logits
    guessed = dense.flatten(0, 1)[given["label_positions"]].argmax(-1)
    labels = torch.where(torch.arange(CAPACITY) % 3 == 0, guessed, given["labels"])
    labels[TARGETS:] = -100
    assert mlm(given | {"labels": labels})["correct"].item() == (guessed == labels).sum().item() > TARGETS // 4


def test_kept_model_is_whole_outside_the_objective(wordpiece: PreTrainedTokenizerFast) -> None:
    """Called by itself, also after a forward that failed, the stock model gives logits at every position."""
    model = micro("bert-micro", wordpiece)
    mlm, given = objective(model), batch()
    assert mlm.kept is model
    with pytest.raises(IndexError):
        mlm(given | {"input_ids": given["input_ids"] + model.config.vocab_size})
    assert model(input_ids=given["input_ids"]).logits.shape == (ROWS, LENGTH, model.config.vocab_size)


@pytest.mark.parametrize("name", MICROS)
def test_gradient_checkpointing_computes_the_same_and_keeps_less(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Loss and gradients to the bit, with fewer activations kept for the backward pass: the last of two layers'."""
    results, kept = [], []
    for recompute in (False, True):
        mlm = objective(micro(name, wordpiece, gradient_checkpointing=recompute))
        total, size = forward_and_kept(mlm, batch())
        total.backward()
        results.append((total.item(), gradients(mlm.kept)))
        kept.append(size)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert kept[1] < 0.7 * kept[0]


def forward_and_kept(mlm: MaskedLM, given: Batch) -> tuple[Tensor, int]:
    """The loss, and how many different numbers the graph keeps for its gradient, parameters left out."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in mlm.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        total = mlm(given)["mlm"]
    return total, sum(size for pointer, size in storages.items() if pointer not in parameters)


def test_counts_are_the_labels(wordpiece: PreTrainedTokenizerFast) -> None:
    """The count is read off the batch, without the slots that only fill it up."""
    counts = objective(micro("bert-micro", wordpiece)).counts(batch())
    assert {name: count.item() for name, count in counts.items()} == {"mlm": TARGETS}


def test_fill_is_ignored(wordpiece: PreTrainedTokenizerFast) -> None:
    """Twice the capacity changes neither loss nor gradients."""
    model = micro("bert-micro", wordpiece)
    mlm, given = objective(model), batch()
    fill = {"label_positions": torch.zeros(CAPACITY, dtype=torch.long), "labels": torch.full((CAPACITY,), -100)}
    wider = given | {name: torch.cat([given[name], values]) for name, values in fill.items()}
    results = []
    for one in (given, wider):
        total = mlm(one)["mlm"]
        total.backward()
        results.append((total.detach(), gradients(model)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


def test_d1_micro_batches_add_up(wordpiece: PreTrainedTokenizerFast) -> None:
    """D1: micro-batches add up to the whole's loss and gradient; Bert's own loss ignores num_items_in_batch."""
    model, given = micro("bert-micro", wordpiece), batch()
    mlm = objective(model)
    whole = mlm(given)["mlm"]
    whole.backward()
    expected = gradients(model)
    cut = ROWS // 2 * LENGTH
    parts = []
    for half in (0, 1):
        slots = [slot for slot in range(TARGETS) if (given["label_positions"][slot] >= cut) == bool(half)]
        part = {name: given[name][half * 2 : half * 2 + 2] for name in ("input_ids", "segments")}
        part |= {"label_positions": given["label_positions"][slots] - half * cut, "labels": given["labels"][slots]}
        parts.append(mlm(part)["mlm"])
        parts[-1].backward()
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)
    torch.testing.assert_close(gradients(model), expected, rtol=1e-5, atol=1e-6)
    stock = model(input_ids=given["input_ids"], labels=dense_labels(given), num_items_in_batch=4 * TARGETS).loss
    plain = model(input_ids=given["input_ids"], labels=dense_labels(given)).loss
    assert stock.item() == plain.item()  # the number was ignored


@pytest.mark.parametrize("autocast", [True, False])
def test_sum_is_float32_in_half_precision(autocast: bool, wordpiece: PreTrainedTokenizerFast) -> None:
    """Whether the operations or the weights themselves are in half precision."""
    model = micro("bert-micro", wordpiece)
    mlm = objective(model if autocast else model.to(torch.bfloat16))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        assert mlm(batch())["mlm"].dtype == torch.float32


@pytest.mark.parametrize("name", MICROS)
def test_compiles_as_one_graph(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """torch.compile meets no break: masks, positions and the gathering hook are all traced."""
    mlm, given = objective(micro(name, wordpiece)), batch()
    torch._dynamo.reset()
    compiled = torch.compile(mlm, backend="eager", fullgraph=True)
    assert compiled(given)["mlm"].item() == pytest.approx(mlm(given)["mlm"].item(), rel=1e-6)
