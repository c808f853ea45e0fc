"""The model that is adapted, and how long the texts may be that it is given."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, DataError
from hfrep.models.isolation import longest_document
from hfrep.models.named import stored_config
from hfrep.settings import setting

USUAL_LENGTH = 128  # tokens


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    model_name_or_path: str = setting("runs/mlm/model", "the pretrained model: a folder or a Hub id")
    tokenizer: str | None = setting(
        None, "tokenizer: a folder or a Hub id; default: the model's", aliases=("tokenizer_name",)
    )
    sequence_length: int | None = setting(
        None,
        f"tokens of an example at most, longer ones are cut; default: {USUAL_LENGTH}, or fewer where the model was "
        "made for fewer",
        aliases=("max_seq_length",),
    )

    def __post_init__(self) -> None:
        if self.sequence_length is not None and self.sequence_length < 8:
            found = str(self.sequence_length)
            raise ConfigError(where="--sequence_length", expected="8 or more", found=found, do="raise it")

    def open_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the model.

        Raises:
            ConfigError: the default model has not been trained yet.
            DataError: there is none, or it has no token to fill up shorter texts with.
        """
        default = {field.name: field.default for field in dataclasses.fields(self)}["model_name_or_path"]
        if self.model_name_or_path == default and not Path(default).is_dir():
            raise ConfigError(
                where="--model_name_or_path",
                expected=f"a pretrained model, by default {default}",
                found="no such folder",
                do="make one with recipes/mlm.py (make mlm), or name another",
            )
        tokenizer = load_tokenizer(self.tokenizer or self.model_name_or_path, own_pad=False)
        if tokenizer.pad_token is None:  # as GPT-2's: masked out, any token will do that ends no text by itself
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise DataError(
                where=f"tokenizer {tokenizer.name_or_path}",
                expected="a pad token, or an end or unknown token that can stand for it",
                found="none of them",
                do="add one with add_special_tokens and save it",
            )
        return tokenizer

    def length(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """Tokens that an example may have.

        Raises:
            ConfigError: more were asked for than the model has positions for.
        """
        room = self._positions()
        if self.sequence_length is None:
            told = min(USUAL_LENGTH, int(tokenizer.model_max_length))
            return told if room is None else min(told, room)
        if room is not None and self.sequence_length > room:
            raise ConfigError(
                where="--sequence_length",
                expected=f"at most the {room} positions that {self.model_name_or_path} has",
                found=str(self.sequence_length),
                do="shorten it",
            )
        return self.sequence_length

    def _positions(self) -> int | None:
        config = stored_config(self.model_name_or_path)
        return None if config is None else longest_document(config)
