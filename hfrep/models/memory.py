"""How much memory training will take, before it is tried."""

from transformers import PreTrainedModel

BYTES = 4  # float32


def training_bytes(model: PreTrainedModel, rows: int, length: int) -> int:
    """A rough estimate for one process: weights, gradients, two moments, and activations of a forward pass.

    Activations are those of a transformer layer without recomputation, 34·s·b·h + 5·a·s²·b bytes in half precision
    (Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", equation 1); the
    attention matrix itself (the second term) is not kept by fused attention and is left out.

    Args:
        rows, length: of a micro-batch.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    config = model.config
    activations: int = 17 * BYTES * rows * length * config.hidden_size * config.num_hidden_layers
    return int(4 * BYTES * parameters + activations)
