"""Document-proof: in a packed row a document is computed as if it stood alone, on every supported architecture."""

from pathlib import Path

import micros
import pytest
import torch
import transformers
from micros import MICROS
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.masking_utils import create_bidirectional_sliding_window_mask
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from hfrep.errors import ProofError
from hfrep.models.isolation import COUNTED_FROM_PADDING, Inputs, RowInputs, first_position, prove_isolation
from hfrep.models.shapes import PRESETS

LENGTH = 48
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
OTHERS = {
    "electra": SHAPE | {"embedding_size": 16},
    "albert": SHAPE | {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "mpnet": SHAPE,  # has no sdpa: takes the mask as numbers
}
SEGMENTS = torch.tensor([[1] * 20 + [2] * 20 + [0] * 8, [1] * 1 + [2] * 2 + [3] * 45])


def micro(name: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return micros.micro(name, tokenizer, length=LENGTH).eval()


def other(model_type: str, **more: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=128, **(OTHERS.get(model_type, SHAPE) | more))
    return AutoModelForMaskedLM.from_config(config).eval()


def words(model: PreTrainedModel, rows: int = 2) -> Tensor:
    return torch.randint(8, model.config.vocab_size, (rows, LENGTH), generator=torch.Generator().manual_seed(1))


def hidden(model: PreTrainedModel, input_ids: Tensor, **inputs: object) -> Tensor:
    with torch.no_grad():
        return model.base_model(input_ids=input_ids, **inputs).last_hidden_state


def test_every_preset_belongs_to_a_family_proven_here() -> None:
    """No family of presets can be added without its micro size being put through this file."""
    assert {row["model_type"] for row in PRESETS.values()} == {PRESETS[name]["model_type"] for name in MICROS}


LEAK = r"expected a document's outputs .* found .*LM(Head)?.* outputs that moved by"


@pytest.mark.parametrize("name", MICROS)
def test_the_proof_tells_isolated_documents_from_joined(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Changing one document of a row moves no other, for each family of presets; where a row is one text, it does."""
    model = micro(name, wordpiece)
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    with pytest.raises(ProofError, match=LEAK):
        prove_isolation(model, RowInputs.of(model, "join"), sequence_length=LENGTH)


@pytest.mark.parametrize("model_type", OTHERS)
def test_the_proof_tells_them_apart_in_other_architectures(model_type: str) -> None:
    """Models that are no preset, to be trained on from the Hub, isolate too, under sdpa and without."""
    model = other(model_type)
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    with pytest.raises(ProofError):
        prove_isolation(model, RowInputs.of(model, "join"), sequence_length=LENGTH)


@pytest.mark.parametrize("length", [4, 5, 1000])
def test_proof_works_for_any_row_length(length: int, wordpiece: PreTrainedTokenizerFast) -> None:
    """Rows of four tokens and rows longer than the proof's own are no special case."""
    model = micro("bert-micro", wordpiece)
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=length)
    with pytest.raises(ProofError):
        prove_isolation(model, RowInputs.of(model, "join"), sequence_length=length)


@pytest.mark.parametrize("name", MICROS)
def test_d7_positions_alone_fail_the_proof(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """D7: packing by position ids leaks across documents in every family, and the proof says so.

    Decoders keep a cache unless told not to, and then do not look at the positions.
    """
    model = micro(name, wordpiece)
    inputs = RowInputs.of(model, "isolate")
    with pytest.raises(ProofError, match=r"outputs that moved by .*; train with --documents join"):
        prove_isolation(
            model, lambda segments: {"position_ids": inputs(segments)["position_ids"]}, sequence_length=LENGTH
        )


@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
def test_proof_sees_a_leak_in_one_kind_of_layer(kind: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """ModernBERT needs both of its masks: with either one open, the proof fails."""
    model = micro("modernbert-micro", wordpiece)
    inputs = RowInputs.of(model, "isolate")

    def leaky(segments: Tensor) -> Inputs:
        masks = inputs(segments)["attention_mask"]
        return {"attention_mask": masks | {kind: torch.ones_like(masks[kind])}}

    with pytest.raises(ProofError, match="outputs that moved"):
        prove_isolation(model, leaky, sequence_length=LENGTH)


def test_proof_refuses_an_architecture_that_mixes_without_attention() -> None:
    """FNet mixes the whole row by Fourier transforms: no mask helps, and the sentence says what does."""
    model = other("fnet")
    with pytest.raises(ProofError, match=r"--documents isolate with fnet: .* train with --documents join"):
        prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


def test_proof_refuses_an_architecture_that_takes_no_such_mask() -> None:
    """DeBERTa v2 fails on a 4-D mask with a traceback of its own, which becomes the sentence's reason."""
    model = other("deberta-v2", relative_attention=True, pos_att_type=["p2c", "c2p"])
    with pytest.raises(ProofError, match=r"DebertaV2ForMaskedLM, which takes no mask per document \(.+\)"):
        prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


def test_proof_is_not_passed_by_a_model_that_is_blind(wordpiece: PreTrainedTokenizerFast) -> None:
    """Outputs that never move would pass any leak test; the proof asks that a document moves itself."""
    model = micro("bert-micro", wordpiece)
    torch.nn.init.zeros_(model.get_input_embeddings().weight)
    with pytest.raises(ProofError, match="outputs that do not depend on the tokens at all"):
        prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


def test_proof_leaves_the_model_as_found(wordpiece: PreTrainedTokenizerFast) -> None:
    """Training flags of each module, gradients and the random generator are untouched."""
    model = micro("bert-micro", wordpiece).train()
    model.base_model.embeddings.eval()
    flags, state = [module.training for module in model.modules()], torch.get_rng_state()
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", MICROS)
def test_packed_document_equals_the_document_alone(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Each segment's hidden states are those the stock class computes, with inputs of its own making, for it alone."""
    model = micro(name, wordpiece)
    input_ids = words(model)
    packed = hidden(model, input_ids, **RowInputs.of(model, "isolate")(SEGMENTS))
    for row, segments in enumerate(SEGMENTS):
        for segment in range(1, int(segments.max()) + 1):
            here = segments == segment
            torch.testing.assert_close(packed[row, here], hidden(model, input_ids[row, here][None])[0])


@pytest.mark.parametrize("name", MICROS)
@pytest.mark.parametrize("documents", ["isolate", "join"])
def test_padding_gives_numbers(name: str, documents: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """Padding has a softmax too: nothing is NaN, which a backward pass would spread."""
    model = micro(name, wordpiece)
    assert hidden(model, words(model), **RowInputs.of(model, documents)(SEGMENTS)).isfinite().all()


@pytest.mark.parametrize("name", MICROS)
def test_every_position_sees_itself(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """No row of a mask is empty, padding included: what a softmax over nothing gives hangs on the kernel."""
    masks = RowInputs.of(micro(name, wordpiece), "isolate")(SEGMENTS)["attention_mask"]
    for mask in masks.values() if isinstance(masks, dict) else [masks]:
        seen = mask if mask.dtype == torch.bool else mask == 0
        assert seen.diagonal(dim1=2, dim2=3).all()


@pytest.mark.parametrize("name", MICROS)
def test_joined_row_is_one_text_to_the_stock_class(name: str, wordpiece: PreTrainedTokenizerFast) -> None:
    """With `join`, a row without its padding given to the stock class has the same hidden states."""
    model = micro(name, wordpiece)
    input_ids = torch.where(SEGMENTS > 0, words(model), wordpiece.pad_token_id)
    joined = hidden(model, input_ids, **RowInputs.of(model, "join")(SEGMENTS))
    torch.testing.assert_close(joined[:1, :40], hidden(model, input_ids[:1, :40]))
    torch.testing.assert_close(joined[1:], hidden(model, input_ids[1:]))


def test_positions_restart_with_each_segment(wordpiece: PreTrainedTokenizerFast) -> None:
    """From 0 for BERT, from padding_idx + 1 for RoBERTa, as fairseq counts."""
    segments = torch.tensor([[1, 1, 1, 2, 2, 3, 0, 0]])
    expected = torch.tensor([[0, 1, 2, 0, 1, 0, 0, 1]])
    bert, roberta = micro("bert-micro", wordpiece), micro("roberta-micro", wordpiece)
    roberta.config.pad_token_id = 5
    assert torch.equal(RowInputs.of(bert, "isolate")(segments)["position_ids"], expected)
    assert torch.equal(RowInputs.of(roberta, "isolate")(segments)["position_ids"], expected + 6)


def test_sliding_window_is_the_class_s_own(wordpiece: PreTrainedTokenizerFast) -> None:
    """On one unpacked text our mask for ModernBERT's sliding layers is the one the library makes, to the bit."""
    model = micro("modernbert-micro", wordpiece)
    ours = RowInputs.of(model, "isolate")(torch.ones(1, LENGTH, dtype=torch.long))["attention_mask"]
    theirs = create_bidirectional_sliding_window_mask(
        config=model.config, inputs_embeds=torch.empty(1, LENGTH, 64), attention_mask=None
    )
    assert isinstance(ours, dict)
    assert torch.equal(ours["sliding_attention"], theirs)
    assert ours["full_attention"].all()
    assert not theirs.all()


def test_which_architectures_count_from_padding() -> None:
    """The list of them is what the library's own sources say."""
    folder = Path(transformers.__file__).parent / "models"
    counting = set()
    for model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        source = next(folder.glob(f"*/modeling_{model_type.replace('-', '_')}.py"), None)
        if source is not None and "def create_position_ids_from_input_ids" in source.read_text(encoding="utf-8"):
            counting.add(model_type)
    assert counting == COUNTED_FROM_PADDING
    assert first_position(CONFIG_MAPPING["roberta"](pad_token_id=1)) == 2
    assert first_position(CONFIG_MAPPING["bert"](pad_token_id=1)) == 0
