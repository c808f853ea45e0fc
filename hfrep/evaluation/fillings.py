"""A few masked sentences with the model's top guesses: what eyes catch that sums do not."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.order import counter_hash
from hfrep.data.rows import Rows

LONGEST = 32  # tokens of a sentence that is shown
SHORTEST = 12
GUESSES = 3


@dataclass(frozen=True)
class Filling:
    """One masked word: the text around it, the true word, and the best guesses with their probabilities."""

    before: str
    after: str
    truth: str
    guesses: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        guesses = ", ".join(f"{word} {probability:.0%}" for word, probability in self.guesses)
        return f"{self.before} ___ {self.after}\n    true: {self.truth}; guessed: {guesses}"


def fillings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Rows, number: int) -> list[Filling]:
    """Mask one whole-token word in each of `number` pieces of different rows, the same ones every time."""
    model.eval()
    found: list[Filling] = []
    order = np.argsort(counter_hash(np.arange(len(rows))), kind="stable")
    for row in order:
        piece = _piece(rows, int(row), tokenizer)
        if piece is not None:
            found.append(_fill(model, tokenizer, *piece))
        if len(found) == number:
            break
    return found


def _piece(rows: Rows, row: int, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], int] | None:
    """The beginning of the row's first segment, and a position in it that is a word of letters in one token."""
    taken = rows.take(np.array([row]))
    tokens, starts = taken["input_ids"][0], taken["word_starts"][0]
    tokens = tokens[taken["segments"][0] == 1][1:-1][:LONGEST]
    starts = np.append(starts[1 : len(tokens) + 1], True)
    words = [
        position
        for position in range(len(tokens) // 3, len(tokens))
        if starts[position] and starts[position + 1] and len(tokenizer.decode([int(tokens[position])]).strip()) > 2
        if tokenizer.decode([int(tokens[position])]).strip().isalpha()
    ]
    if len(tokens) < SHORTEST or not words:
        return None
    return tokens.tolist(), words[int(counter_hash(row)[0] % np.uint64(len(words)))]


def _fill(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tokens: list[int], hidden: int) -> Filling:
    masked = [*tokens[:hidden], tokenizer.mask_token_id, *tokens[hidden + 1 :]]
    input_ids = torch.tensor([[tokenizer.cls_token_id, *masked, tokenizer.sep_token_id]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids).logits[0, hidden + 1, : len(tokenizer)].float()
    probabilities, guesses = logits.softmax(-1).topk(GUESSES)
    words = (tokenizer.decode([int(guess)]).strip() for guess in guesses)
    return Filling(
        before=tokenizer.decode(tokens[:hidden]).strip(),
        after=tokenizer.decode(tokens[hidden + 1 :]).strip(),
        truth=tokenizer.decode([tokens[hidden]]).strip(),
        guesses=tuple(zip(words, probabilities.tolist(), strict=True)),
    )
