"""Decoders see the past only, alone and in packed rows; and what each needs for documents to be isolated."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import micros
import pytest
import torch
from micros import DECODERS
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.masking_utils import create_sliding_window_causal_mask

from hfrep.errors import ProofError
from hfrep.models.isolation import Inputs, RowInputs, admit_row_masks, is_causal, prove_causality, prove_isolation

LENGTH = 32
SEGMENTS = torch.tensor([[1] * 12 + [2] * 14 + [0] * 6])
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
}


def decoder(model_type: str, **more: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=128, **(SHAPE | more))
    return AutoModelForCausalLM.from_config(config).eval()


def hidden(model: PreTrainedModel, input_ids: Tensor, **inputs: object) -> Tensor:
    with torch.no_grad():
        return model.base_model(input_ids=input_ids, **inputs)[0]


def words(model: PreTrainedModel) -> Tensor:
    return torch.randint(8, model.config.vocab_size, (1, LENGTH), generator=torch.Generator().manual_seed(1))


LOOKED_AHEAD = r"outputs before a changed token that moved by .* in packed rows"


@pytest.mark.parametrize("documents", ["isolate", "join"])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders_pass_the_proof(name: str, documents: str, bpe: PreTrainedTokenizerFast) -> None:
    """Changing a token moves no output before it, in isolated and in joined rows and in the stock class alone."""
    model = micros.micro(name, bpe)
    inputs = RowInputs.of(model, documents)
    prove_causality(model, inputs, sequence_length=LENGTH)
    ahead = replace(inputs, documents="isolate", causal=False)
    # GPT's class looks at the past only, whatever mask it is given.
    with nullcontext() if name == "gpt-1-micro" else pytest.raises(ProofError, match=LOOKED_AHEAD):
        prove_causality(model, ahead, sequence_length=LENGTH)


@pytest.mark.parametrize("documents", ["isolate", "join"])
@pytest.mark.parametrize("name", DECODERS)
def test_no_token_moves_an_earlier_logit(name: str, documents: str, bpe: PreTrainedTokenizerFast) -> None:
    """Every token of a row in turn, by the gradient: no logit hangs on a later word vector, each on its own."""
    model = micros.micro(name, bpe).eval()
    vectors = model.get_input_embeddings()(words(model)).detach().requires_grad_()
    inputs = RowInputs.of(model, documents)(SEGMENTS)
    logits = model(inputs_embeds=vectors, **inputs).logits[0]
    for position in range(LENGTH):
        (gradient,) = torch.autograd.grad(logits[position].square().sum(), vectors, retain_graph=True)
        seen = gradient[0].abs().amax(dim=1) > 0
        assert seen[position]
        assert not seen[position + 1 :].any()
        if documents == "isolate":
            assert not seen[SEGMENTS[0] != SEGMENTS[0, position]].any()


@pytest.mark.parametrize("length", [4, 5, 1000])
def test_proof_works_for_any_row_length(length: int, bpe: PreTrainedTokenizerFast) -> None:
    """Rows of four tokens and rows longer than the proof's own are no special case."""
    model = micros.micro("gpt2-micro", bpe)
    inputs = RowInputs.of(model, "isolate")
    prove_causality(model, inputs, sequence_length=length)
    with pytest.raises(ProofError, match=LOOKED_AHEAD):
        prove_causality(model, replace(inputs, causal=False), sequence_length=length)


def test_proof_sees_an_encoder(wordpiece: PreTrainedTokenizerFast) -> None:
    """BERT with a causal head and without is_decoder looks ahead, which the sentence says."""
    model = decoder("bert")
    with pytest.raises(
        ProofError, match=r"BertLMHeadModel: .* outputs before a changed token that moved by .*; take a"
    ):
        prove_causality(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


def test_masks_alone_do_not_make_a_decoder() -> None:
    """A model that is causal by the run's masks only is found out: the class that others open looks ahead."""
    model = decoder("bert")
    inputs = RowInputs.of(model, "isolate")

    def causal(segments: Tensor) -> Inputs:
        return inputs(segments) | {"attention_mask": inputs(segments)["attention_mask"].tril()}

    with pytest.raises(ProofError, match="in a text given to the stock class"):
        prove_causality(model, causal, sequence_length=LENGTH)


def test_proof_sees_a_leak_in_the_rows(bpe: PreTrainedTokenizerFast) -> None:
    """Masks that let a token see one position ahead fail, whatever the class does by itself."""
    model = micros.micro("llama-micro", bpe)
    inputs = RowInputs.of(model, "isolate")

    def ahead(segments: Tensor) -> Inputs:
        mask = inputs(segments)["attention_mask"]
        return inputs(segments) | {"attention_mask": mask | torch.ones_like(mask).tril(1)}

    with pytest.raises(ProofError, match=r"moved by .* in packed rows"):
        prove_causality(model, ahead, sequence_length=LENGTH)


def test_proof_is_not_passed_by_a_model_that_is_blind(bpe: PreTrainedTokenizerFast) -> None:
    """Outputs that never move are causal too; the proof asks that a token moves its own."""
    model = micros.micro("gpt2-micro", bpe)
    torch.nn.init.zeros_(model.get_input_embeddings().weight)
    with pytest.raises(ProofError, match="outputs that do not depend on their own token"):
        prove_causality(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


def test_bert_with_is_decoder_is_one() -> None:
    """Architectures that can be either are what their config says, and get the masks of it."""
    model = decoder("bert", is_decoder=True)
    assert is_causal("bert", model.config)
    assert not is_causal("bert")
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    prove_causality(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)


@pytest.mark.parametrize("name", DECODERS)
def test_d7_positions_isolate_decoders_only_without_a_cache(name: str, bpe: PreTrainedTokenizerFast) -> None:
    """D7: without mask and cache the library makes masks from positions that restart; GPT's class never does."""
    model = micros.micro(name, bpe)
    isolating = RowInputs.of(model, "isolate")

    def positions(segments: Tensor) -> Inputs:
        return {"position_ids": isolating(segments)["position_ids"], "use_cache": False}

    if name == "gpt-1-micro":
        with pytest.raises(ProofError, match="outputs that moved"):
            prove_isolation(model, positions, sequence_length=LENGTH)
    else:
        prove_isolation(model, positions, sequence_length=LENGTH)


@pytest.mark.parametrize("name", DECODERS)
def test_no_cache_is_kept(name: str, bpe: PreTrainedTokenizerFast) -> None:
    """Training keeps no keys and values, while the config leaves generation its cache."""
    model = micros.micro(name, bpe)
    for documents in ("isolate", "join"):
        output = model(input_ids=words(model), **RowInputs.of(model, documents)(SEGMENTS))
        assert getattr(output, "past_key_values", None) is None
    assert getattr(model.config, "use_cache", True)


@pytest.mark.parametrize("name", DECODERS)
def test_eager_attention_isolates_too(name: str, bpe: PreTrainedTokenizerFast) -> None:
    """Masks as numbers, for the attention that adds them, give the hidden states of sdpa."""
    model = micros.micro(name, bpe).eval()
    with_sdpa = hidden(model, words(model), **RowInputs.of(model, "isolate")(SEGMENTS))
    model.set_attn_implementation("eager")
    prove_isolation(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    prove_causality(model, RowInputs.of(model, "isolate"), sequence_length=LENGTH)
    torch.testing.assert_close(hidden(model, words(model), **RowInputs.of(model, "isolate")(SEGMENTS)), with_sdpa)


@pytest.mark.parametrize(
    "model",
    [
        lambda: decoder("modernbert-decoder", local_attention=16, pad_token_id=0),
        lambda: decoder("qwen3", head_dim=16, use_sliding_window=True, sliding_window=6, max_window_layers=1),
        lambda: decoder("mistral", sliding_window=6),
        lambda: decoder("starcoder2", sliding_window=6),
    ],
    ids=["modernbert-decoder", "qwen3", "mistral", "starcoder2"],
)
def test_sliding_window_is_the_class_s_own(model) -> None:
    """Our mask for sliding layers is the library's, to the bit, and a packed document is what it is alone."""
    model = model()
    ours = RowInputs.of(model, "isolate")(torch.ones(1, LENGTH, dtype=torch.long))["attention_mask"]
    theirs = create_sliding_window_causal_mask(
        config=model.config, inputs_embeds=torch.empty(1, LENGTH, 32), attention_mask=None, past_key_values=None
    )
    assert torch.equal(ours["sliding_attention"] if isinstance(ours, dict) else ours, theirs)
    assert not theirs.tril().equal(torch.ones_like(theirs).tril())
    input_ids = words(model)
    packed = hidden(model, input_ids, **RowInputs.of(model, "isolate")(SEGMENTS))
    for segment in (1, 2):
        here = SEGMENTS[0] == segment
        torch.testing.assert_close(packed[0, here], hidden(model, input_ids[:, here])[0])


def test_unknown_kinds_of_layers_are_refused() -> None:
    """A mask for all would not be what the class does alone; with `join` the class makes its own."""
    model = decoder("qwen3", head_dim=16, layer_types=["full_attention", "chunked_attention"])
    with pytest.raises(
        ProofError, match="found layers of kind chunked_attention, for which no mask is known; train with"
    ):
        RowInputs.of(model, "isolate")
    assert RowInputs.of(model, "join").causal


def test_gpt_without_its_hooks_is_refused(bpe: PreTrainedTokenizerFast) -> None:
    """The class as it comes fails on a 4-D mask; the proof makes a sentence of it, and `admit_row_masks` mends it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(micros.micro("gpt-1-micro", bpe).config).eval()
    inputs = RowInputs.of(model, "isolate")
    with pytest.raises(ProofError, match=r"OpenAIGPTLMHeadModel, which takes no mask per document .* --documents join"):
        prove_isolation(model, inputs, sequence_length=LENGTH)
    alone = hidden(model, words(model))
    admit_row_masks(model)
    prove_isolation(model, inputs, sequence_length=LENGTH)
    assert torch.equal(hidden(model, words(model)), alone)


def test_gpt_s_hooks_do_not_outlive_a_forward_or_a_copy(bpe: PreTrainedTokenizerFast) -> None:
    """After an isolated forward a plain one is plain, and a copy of the model has a passage of its own."""
    model = micros.micro("gpt-1-micro", bpe).eval()
    plain = hidden(model, words(model))
    twin = copy.deepcopy(model)
    isolated = hidden(model, words(model), **RowInputs.of(model, "isolate")(SEGMENTS))
    assert not torch.equal(isolated, plain)
    assert torch.equal(hidden(model, words(model)), plain)
    assert torch.equal(hidden(twin, words(model)), plain)
    assert torch.equal(hidden(twin, words(model), **RowInputs.of(twin, "isolate")(SEGMENTS)), isolated)
