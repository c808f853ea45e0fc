"""GPT's activation by torch's kernel against the one that the stock class has."""

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import NewGELUActivation

from hfrep.models.activations import fuse_activations
from hfrep.objectives.clm import CausalLM, CausalLMCollator

SHAPE = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 12}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}


def _model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**SHAPE, **TOKENS)).eval()


def test_a_fused_model_is_the_stock_one(tmp_path):
    """Logits and gradients to float32's last digits; what is saved is what the stock class saves."""
    stock, fused = _model(), _model()
    fuse_activations(fused)
    tokens = torch.arange(24).view(2, 12)
    for model in (stock, fused):
        model(tokens, labels=tokens).loss.backward()
    torch.testing.assert_close(fused(tokens).logits, stock(tokens).logits, rtol=1e-5, atol=1e-6)
    for (name, ours), theirs in zip(fused.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)
    fused.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert any(isinstance(module, NewGELUActivation) for module in again.modules())


def test_training_takes_the_fused_one():
    """No module of a causal objective is left with the slow activation."""
    kinds = {type(module) for module in CausalLM(_model(), CausalLMCollator()).modules()}
    assert nn.GELU in kinds
    assert NewGELUActivation not in kinds
