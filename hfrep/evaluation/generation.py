"""Text that a causal language model writes: the stock `generate`, on prompts that begin as its documents do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.order import Integers, counter_hash
from hfrep.data.rows import Rows
from hfrep.errors import ConfigError, DataError
from hfrep.models.language_model import context_length
from hfrep.settings import setting

PROMPT = 16  # tokens of a document that a sample goes on from, or half of it where it is short
SHORTEST = 8
COLDEST = 0.01  # temperature; logits divided by less overflow


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How text is drawn; the names are those of `transformers.GenerationConfig`."""

    max_new_tokens: int = setting(64, "tokens written at most, the end of the document included", kind="operation")
    temperature: float = setting(
        1.0,
        "logits are divided by it: below 1 safer, above 1 wilder; 0: the likeliest token each time (greedy)",
        kind="operation",
    )
    top_k: int = setting(0, "draw among the k likeliest tokens only; 0: among all", kind="operation")
    top_p: float = setting(
        0.95, "draw among the likeliest tokens that together have this probability; 1: among all", kind="operation"
    )

    def __post_init__(self) -> None:
        self._require("max_new_tokens", self.max_new_tokens >= 1, "1 or more")
        holds = self.temperature == 0 or self.temperature >= COLDEST
        self._require("temperature", holds, f"0 (greedy), or {COLDEST} or more")
        self._require("top_k", self.top_k >= 0, "0 (no limit) or more")
        self._require("top_p", 0 < self.top_p <= 1, "a probability above 0, at most 1")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(where=name, expected=expected, found=str(getattr(self, name)), do="correct the setting")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `generate`."""
        if self.temperature == 0:
            return {"max_new_tokens": self.max_new_tokens, "do_sample": False}
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {"max_new_tokens": self.max_new_tokens, "do_sample": True, **drawn}


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    settings: GenerationSettings,
    *,
    seed: int,
    streamer: Any = None,
) -> list[str]:
    """What `model` writes behind each of `prompts`, in one batch; it is put into eval mode.

    Draws hang on `seed` and on the batch, and leave torch's global generator as it was.

    Args:
        tokenizer: one for decoders (`hfrep.data.decoder_tokenizer`): it begins a prompt and pads on the left.
        streamer: shows the prompt, and text while it is written (`transformers.TextStreamer`); for a single prompt.

    Raises:
        ConfigError: more new tokens are asked for than the model was made for.
        DataError: a prompt leaves no room for them.
    """
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, return_token_type_ids=False)
    room = context_length(model, tokenizer)
    _require_room(room, prompts, batch["attention_mask"].sum(1).tolist(), settings.max_new_tokens)
    devices = [] if model.device.type == "cpu" else [model.device]
    with torch.random.fork_rng(devices), torch.inference_mode():
        torch.manual_seed(seed)
        ids = model.eval().generate(**batch.to(model.device), **settings.arguments(), streamer=streamer)
    given = [tokenizer.decode(row, skip_special_tokens=True) for row in batch["input_ids"].tolist()]
    # Decoded with its prompt, since a tokenizer may have no sign for the blank between them.
    whole = [tokenizer.decode(row, skip_special_tokens=True) for row in ids.tolist()]
    return [text[len(prompt) :] for prompt, text in zip(given, whole, strict=True)]


@dataclass(frozen=True)
class Continuation:
    """The beginning of a document, and what a model wrote behind it."""

    prompt: str
    written: str

    def __str__(self) -> str:
        return f"{' '.join(self.prompt.split())} >>> {' '.join(self.written.split())}"


def continuations(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Rows, number: int, settings: GenerationSettings
) -> list[Continuation]:
    """Samples behind the first tokens of documents, the same ones every time; `number` of them where there are as many.

    They are as long as `settings` say, or as long as there is room for.
    """
    beginnings = islice(_beginnings(rows), number)
    prompts = [tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd") for ids in beginnings]
    most = max([1 + len(tokenizer(prompt)["input_ids"]) for prompt in prompts], default=1)
    room = max(1, context_length(model, tokenizer) - most)
    settings = replace(settings, max_new_tokens=min(settings.max_new_tokens, room))
    written = [generate(model, tokenizer, [prompt], settings, seed=seed)[0] for seed, prompt in enumerate(prompts)]
    return [Continuation(*pair) for pair in zip(prompts, written, strict=True)]


def _beginnings(rows: Rows) -> Iterator[Integers]:
    """First tokens of documents, in an order that hangs on nothing but the number of rows.

    What comes second in a row begins a document; what comes first may go on with one of the row before, and is taken
    only where there is nothing else.
    """
    for segment in (2, 1):
        for row in np.argsort(counter_hash(np.arange(len(rows))), kind="stable"):
            taken = rows.take(np.array([row]))
            tokens = taken["input_ids"][0][taken["segments"][0] == segment]
            if len(tokens) >= SHORTEST:
                yield tokens[1 : 1 + min(PROMPT, len(tokens) // 2)]


def _require_room(room: int, prompts: Sequence[str], lengths: Sequence[int], new_tokens: int) -> None:
    if new_tokens >= room:
        raise ConfigError(
            where="--max_new_tokens",
            expected=f"fewer than the {room} tokens that the model was made for",
            found=str(new_tokens),
            do="lower it",
        )
    longest = max(lengths)
    if longest + new_tokens > room:
        prompt = prompts[lengths.index(longest)]
        raise DataError(
            where=f"prompt {prompt[:40]!r}",
            expected=f"at most {room - new_tokens} tokens, so that --max_new_tokens {new_tokens} more fit into the "
            f"{room} tokens that the model was made for",
            found=f"{longest}",
            do="shorten it, or ask for fewer new tokens",
        )
