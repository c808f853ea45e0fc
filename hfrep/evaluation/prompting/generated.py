"""Answers that a causal language model writes by itself, greedily, up to a stop string."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast, StoppingCriteria

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.evaluation.prompting.encoding import Question
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
    `max_new_tokens`. What is the same on every process is done on one of them.
    """
    tokenizer, end = decoder_tokenizer(tokenizer), model.generation_config.eos_token_id
    given = [question.answers[0].ids for question in questions]
    mine = np.arange(accelerator.process_index, len(given), accelerator.num_processes)
    lengths = np.array([len(given[number]) + prompt.max_new_tokens for number in mine], np.int64)
    texts: dict[int, str] = {}
    with torch.inference_mode():
        for chosen in batches(lengths, batch_tokens):
            numbers = mine[chosen].tolist()
            batch = tokenizer.pad({"input_ids": [list(given[number]) for number in numbers]}, return_tensors="pt")
            ids = model.eval().generate(
                **batch.to(model.device),
                do_sample=False,
                max_new_tokens=prompt.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id if end is None else end,
                stopping_criteria=[_Stop(tokenizer, batch["input_ids"].shape[1], prompt.stop)],
            )
            for number, row in zip(numbers, ids.tolist(), strict=True):
                texts[number] = _answer(tokenizer, row[batch["input_ids"].shape[1] :], prompt.stop)
    together: dict[int, str] = {}
    for part in gather_object([texts]):
        together |= part
    return [together[number] for number in range(len(questions))]


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
