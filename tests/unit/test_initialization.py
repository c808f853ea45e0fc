"""Initial weights from text, decoder by decoder: the unigram loss where it has a place, and heads that look left."""

import micros
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from micros import DECODERS
from transformers import AutoModelForCausalLM, PreTrainedModel

from hfrep.models.initialization import PAST_OFFSETS, bias_by_last_norm, initialize_from_text

WITH_A_BIAS = {"gpt2-micro", "modernbert-decoder-micro"}


def zipf(size: int) -> np.ndarray:
    return (100_000 / np.arange(1, size + 1)).astype(np.int64)


def drawn(counts: np.ndarray) -> torch.Tensor:
    """Tokens drawn by their counts, independent of each other; int64 [16, 64]."""
    generator = torch.Generator().manual_seed(0)
    return torch.multinomial(torch.from_numpy(counts).double(), 16 * 64, True, generator=generator).view(16, 64)


def loss(model: PreTrainedModel, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        logits = model.eval()(input_ids=tokens).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_start_at_the_unigram_loss_or_are_left_alone(name, bpe):
    """GPT-2 and ModernBERT start at the loss of the counts; GPT, Llama and Qwen3 keep the weights of their class."""
    model, counts = micros.micro(name, bpe, length=64), zipf(len(bpe) - 20)  # the last rows are never targets
    tokens, fresh = drawn(counts), {key: value.clone() for key, value in model.state_dict().items()}
    unigram = F.cross_entropy(torch.from_numpy(counts).log().expand(16 * 63, -1), tokens[:, 1:].flatten()).item()
    assert loss(model, tokens) > 1.1 * unigram
    initialize_from_text(model, counts)
    if name in WITH_A_BIAS:
        assert loss(model, tokens) == pytest.approx(unigram, rel=0.02)
    else:
        assert all(torch.equal(fresh[key], value) for key, value in model.state_dict().items())


def test_bias_by_the_last_norm_adds_to_logits_alone(bpe):
    """Every logit of GPT-2 grows by its token's bias, up to a constant, and no layer sees a difference."""
    model = micros.micro("gpt2-micro", bpe).eval()
    tokens, bias = drawn(zipf(len(bpe))), torch.from_numpy(zipf(320)).log()

    def outputs():
        with torch.no_grad():
            outputs = model(input_ids=tokens, output_hidden_states=True)
        return outputs.logits, outputs.hidden_states[1] - outputs.hidden_states[0]

    logits, first_layer = outputs()
    with torch.no_grad():
        bias_by_last_norm(model.transformer.wte.weight, model.transformer.ln_f, bias)
    after, first_layer_after = outputs()
    torch.testing.assert_close(first_layer_after, first_layer)
    torch.testing.assert_close(after - logits, (bias - bias.mean()).float().expand_as(logits), atol=1e-3, rtol=0)


def test_saved_and_reopened_it_is_the_same(bpe, tmp_path):
    """The bias lies in stock weights: the stock class opens it."""
    model = micros.micro("gpt2-micro", bpe).eval()
    initialize_from_text(model, zipf(len(bpe)))
    model.save_pretrained(tmp_path)
    tokens = drawn(zipf(len(bpe)))
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(input_ids=tokens).logits, model(input_ids=tokens).logits)


def test_first_heads_of_gpt2_look_left(bpe):
    """In the first layer, each head's largest mean weight beside the token itself lies one or two to the left."""
    model = micros.micro("gpt2-micro", bpe).eval()
    initialize_from_text(model, np.ones(len(bpe), np.int64))
    tokens = torch.randint(5, len(bpe), (8, 30), generator=torch.Generator().manual_seed(0))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(input_ids=tokens, output_attentions=True).attentions[0].mean(dim=0)
    for head, offset in enumerate(PAST_OFFSETS):
        # Late queries share their weight with many: from the tenth on all have the same neighbours.
        mean = {back: weights[head].diagonal(back)[10:].mean().item() for back in range(-6, 0)}
        assert max(mean, key=mean.get) == offset
        assert mean[offset] > 1.5 / 30
