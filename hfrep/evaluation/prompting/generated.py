"""Answers that a causal language model writes by itself, greedily, up to a stop string."""

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedModel, PreTrainedTokenizerFast

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
    tokenizer = decoder_tokenizer(tokenizer)
    given = [question.answers[0].ids[: question.answers[0].first] for question in questions]
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
                stop_strings=list(prompt.stop) or None,
                tokenizer=tokenizer,
            )
            for number, row in zip(numbers, ids.tolist(), strict=True):
                texts[number] = _answer(tokenizer, row[batch["input_ids"].shape[1] :], prompt.stop)
    together: dict[int, str] = {}
    for part in gather_object([texts]):
        together |= part
    return [together[number] for number in range(len(questions))]


def _answer(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], stop: Sequence[str]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True).lstrip(" ")
    ends = [place for place in (text.find(one) for one in stop) if place >= 0]
    return text[: min(ends, default=len(text))].strip()
