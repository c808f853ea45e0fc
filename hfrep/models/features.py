"""Vectors that a stock model has for texts: one for each text, by a layer and a pooling.

The body runs in eval mode, once for each text, the texts of like length together; what it gives is kept on disk under
the hash of everything that decides it, and read back as a memory map.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from hfrep.data.batches import rows_of_like_length
from hfrep.data.cache import prepared
from hfrep.data.examples import Examples, ExamplesPart
from hfrep.data.order import Integers
from hfrep.errors import ConfigError
from hfrep.models.class_head import Vectors, class_head_vectors

Pooling = Literal["cls", "mean", "last", "max", "class_head"]

BATCH_TOKENS = 4096  # padding included, that go through the model at once


@dataclass(frozen=True)
class FeatureRows:
    """Cached features of n examples.

    Attributes:
        features: float32 [m, layers, H], on disk.
        targets: of the examples [n].
        rows: int64 [n], where the features of each example are; None where they are all, in order.
    """

    features: NDArray[np.float32]
    targets: NDArray[Any]
    fingerprint: str
    rows: Integers | None = None
    lengths: Integers | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Integers) -> dict[str, NDArray[Any]]:
        """``features`` float32 [b, layers, H] and ``targets`` [b]."""
        places = indices if self.rows is None else self.rows[indices]
        return {"features": self.features[places], "targets": self.targets[indices]}


def module_hash(module: nn.Module, *, without: Sequence[str] = ()) -> str:
    """Hex digest of the names, shapes and values of all weights but those in the modules `without`."""
    digest = hashlib.blake2b(digest_size=16)
    left_out = tuple(f"{name}." for name in without)
    for name, tensor in sorted(module.state_dict().items()):
        if name.startswith(left_out):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def chosen_layers(config: PreTrainedConfig, layer: str) -> tuple[int, ...]:
    """Numbers of the layers that ``--layer`` names: ``all``, or one; 0 is the embeddings, negative ones count back.

    Raises:
        ConfigError: the model has no such layer.
    """
    number = config.get_text_config().num_hidden_layers
    if layer == "all":
        return tuple(range(number + 1))
    if not re.fullmatch(r"-?\d+", layer) or not -number - 1 <= int(layer) <= number:
        raise ConfigError(
            where="--layer",
            expected=f"all, or a number from {-number - 1} to {number} ({number} is the last layer, 0 the embeddings)",
            found=layer,
            do="give another",
        )
    return (int(layer) % (number + 1),)


def features_of(
    model: PreTrainedModel,
    examples: Examples,
    *,
    pooling: Pooling,
    layers: Sequence[int],
    cache: Path,
    digest: str,
    new: Sequence[str] = (),
) -> FeatureRows:
    """Features of `examples`, from the cache where they are in it; those of a part are among those of the whole.

    Args:
        model: a stock class with a body; put into eval mode.
        pooling: cls, the first token's vector; last, the last one's; mean or max over the text's tokens; class_head,
            what the first of the modules `new` is given.
        layers: numbers of the layers, in the order they are to be kept; the last one only with class_head.
        digest: of the model's weights, by `module_hash`.
    """
    if isinstance(examples, ExamplesPart):
        of_all = features_of(model, examples.whole, pooling=pooling, layers=layers, cache=cache, digest=digest, new=new)
        return replace(of_all, targets=examples.targets, rows=examples.rows, fingerprint=examples.fingerprint)
    key = f"{digest} {examples.fingerprint} {pooling} {list(layers)} 1"
    folder = cache / f"features-{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}"

    def build(aside: Path) -> None:
        model.eval()
        vectors = class_head_vectors(model, new) if pooling == "class_head" else _pooled(model, pooling, layers)
        _write(aside / "features.npy", model, examples, vectors)

    file = prepared(folder, build) / "features.npy"
    return FeatureRows(np.load(file, mmap_mode="r"), examples.targets, folder.name)


def _write(file: Path, model: PreTrainedModel, examples: Examples, vectors: Vectors) -> None:
    stored: Any = None  # an array on disk
    with torch.inference_mode(), tqdm(total=len(examples), desc="features", leave=False, disable=None) as bar:
        for rows in rows_of_like_length(examples.lengths, BATCH_TOKENS):
            inputs = {
                name: torch.from_numpy(part).to(model.device)
                for name, part in examples.take(rows).items()
                if name != "targets"
            }
            made = vectors(inputs).float().cpu().numpy()
            if stored is None:
                shape = (len(examples), *made.shape[1:])
                stored = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
            stored[rows] = made
            bar.update(len(rows))
    stored.flush()


def _pooled(model: PreTrainedModel, pooling: Pooling, layers: Sequence[int]) -> Vectors:
    pool = {"cls": _first, "last": _last, "mean": _mean, "max": _max}[pooling]

    def vectors(inputs: dict[str, Tensor]) -> Tensor:
        outputs = model.base_model(**inputs, output_hidden_states=True)
        states = [*outputs.hidden_states[:-1], outputs.last_hidden_state]  # some normalize the last one afterwards
        return torch.stack([pool(states[layer], inputs["attention_mask"]) for layer in layers], dim=1)

    return vectors


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
