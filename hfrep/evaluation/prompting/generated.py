"""Answers that a causal language model writes by itself, greedily, up to a stop string."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast, StoppingCriteria

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.evaluation.prompting.encoding import Question, Tokens
from hfrep.evaluation.prompting.sharing import shared
from hfrep.evaluation.sentences import BATCH_TOKENS, batches
from hfrep.tasks.prompt import Prompt


def written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[Question],
    prompt: Prompt,
    accelerator: Accelerator,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> list[str]:
    """What `model`, put into eval mode, writes in the place of the answer of each question, without blanks around it.

    It ends before the first of the prompt's stop strings, or where the model ends the text, or after the prompt's
    `max_new_tokens`. The same question is asked once, on one of the processes.
    """
    tokenizer, end = decoder_tokenizer(tokenizer), model.generation_config.eos_token_id
    model.eval()

    def write(given: Sequence[Tokens]) -> dict[Tokens, str]:
        lengths = np.array([len(ids) + prompt.max_new_tokens for ids in given], np.int64)
        texts: dict[Tokens, str] = {}
        for chosen in batches(lengths, batch_tokens):
            batch = tokenizer.pad({"input_ids": [list(given[number]) for number in chosen]}, return_tensors="pt")
            length = batch["input_ids"].shape[1]
            rows = model.generate(
                **batch.to(model.device),
                do_sample=False,
                max_new_tokens=prompt.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id if end is None else end,
                stopping_criteria=[_Stop(tokenizer, length, prompt.stop)],
            )
            for number, row in zip(chosen, rows.tolist(), strict=True):
                texts[given[number]] = _answer(tokenizer, row[length:], prompt.stop)
        return texts

    given = [question.answers[0].ids for question in questions]
    with torch.inference_mode():
        texts = shared(list(dict.fromkeys(given)), accelerator, write)
    return [texts[ids] for ids in given]


class _Stop(StoppingCriteria):
    """Ends the rows in which a stop string stands behind the first `given` tokens.

    The library's own looks at the end of the prompt too, and refuses a string that is in no token's letters.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, given: int, stop: Sequence[str]) -> None:
        self._tokenizer, self._given, self._stop = tokenizer, given, stop

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        texts = [_text(self._tokenizer, row[self._given :]) for row in input_ids.tolist()] if self._stop else []
        ended = [any(one in text for one in self._stop) for text in texts] or [False] * len(input_ids)
        return torch.tensor(ended, device=input_ids.device)


def _answer(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], stop: Sequence[str]) -> str:
    text = _text(tokenizer, ids)
    ends = [place for place in (text.find(one) for one in stop) if place >= 0]
    return text[: min(ends, default=len(text))].strip()


def _text(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text.lstrip(" ")
