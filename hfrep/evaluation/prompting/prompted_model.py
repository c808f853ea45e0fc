"""A language model, masked or causal, as what prompts are put to."""

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.tokenizer import encode_documents
from hfrep.errors import ConfigError
from hfrep.evaluation.prompting.answers import Answers
from hfrep.evaluation.prompting.causal import CausalScorer
from hfrep.evaluation.prompting.encoding import PromptTokenizer, Question
from hfrep.evaluation.prompting.generated import written
from hfrep.evaluation.prompting.masked import MaskedScorer, MaskedScoring
from hfrep.evaluation.sentences import batches
from hfrep.models.activations import fuse_activations
from hfrep.models.isolation import RowInputs
from hfrep.tasks.prompt import Prompt


class PromptedModel:
    """Puts questions to one model.

    Args:
        name: as tables spell it.
        batch_tokens: tokens, padding included, that go through the model at once.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        accelerator: Accelerator,
        *,
        masked_scoring: MaskedScoring,
        batch_tokens: int,
    ) -> None:
        self.name, self.prompt_tokenizer = name, PromptTokenizer.of(model, tokenizer)
        fuse_activations(model)
        self._model, self._tokenizer, self._accelerator = model.eval(), tokenizer, accelerator
        self._batch_tokens = batch_tokens
        self._score: CausalScorer | MaskedScorer
        if self.prompt_tokenizer.masked:
            self._score = MaskedScorer(model, tokenizer, accelerator, scoring=masked_scoring, batch_tokens=batch_tokens)
        else:
            self._score = CausalScorer(model, accelerator, batch_tokens=batch_tokens)

    def __call__(self, questions: Sequence[Question]) -> Answers:
        """How likely each answer is."""
        return self._score(questions)

    @property
    def shares(self) -> bool | None:
        """Whether what texts have in common is read once; None for a masked model, or before the first question."""
        return self._score.branches if isinstance(self._score, CausalScorer) else None

    def require(self, prompt: Prompt) -> None:
        """Refuse a prompt that asks for what the model cannot do.

        Raises:
            ConfigError: text is to be written, or greedily guessed, by a masked model; or more of it than a causal one
                has room for.
        """
        if self.prompt_tokenizer.masked and prompt.scored != "choices":
            raise ConfigError(
                where=f"prompt {prompt.name}",
                expected="a causal language model, since its answers are written",
                found=f"{type(self._model).__name__} in {self.name}",
                do="leave the prompt or the model out",
            )

        room = self.prompt_tokenizer.room
        if prompt.scored == "generated" and prompt.max_new_tokens >= room:
            raise ConfigError(
                where=f"prompt {prompt.name}",
                expected=f"fewer max_new_tokens than the {room} tokens that {self.name} was made for",
                found=str(prompt.max_new_tokens),
                do="lower it",
            )

    def write(self, questions: Sequence[Question], prompt: Prompt) -> list[str]:
        """What the model writes as an answer to each question."""
        return written(
            self._model, self._tokenizer, questions, prompt, self._accelerator, batch_tokens=self._batch_tokens
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean vectors of the last layer, of length 1: float32 [n, H]. Of a text that is too long its end counts."""
        begin, end = self.prompt_tokenizer.frame
        room = self.prompt_tokenizer.room - len(begin) - len(end)
        encodings = encode_documents(self._tokenizer, texts)
        ids = [(*begin, *one.ids[-room:], *end) or self.prompt_tokenizer.begin for one in encodings]
        row_inputs = RowInputs.of(self._model, "join")
        vectors = np.zeros((len(texts), 0), np.float32)
        with torch.inference_mode():
            for chosen in batches(np.array([len(one) for one in ids], np.int64), self._batch_tokens):
                inside = torch.zeros(len(chosen), max(len(ids[number]) for number in chosen), dtype=torch.long)
                tokens = torch.zeros_like(inside)
                for row, number in enumerate(chosen):
                    tokens[row, : len(ids[number])] = torch.tensor(ids[number], dtype=torch.long)
                    inside[row, : len(ids[number])] = 1
                tokens, inside = tokens.to(self._model.device), inside.to(self._model.device)
                states = self._model.base_model(input_ids=tokens, **row_inputs(inside)).last_hidden_state.float()
                means = torch.nn.functional.normalize((states * inside[..., None]).sum(1), dim=-1)
                if not vectors.shape[1]:
                    vectors = np.zeros((len(texts), means.shape[1]), np.float32)
                vectors[chosen] = means.cpu().numpy()
        return vectors
