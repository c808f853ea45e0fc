"""Judge a causal language model on text: its loss by the token and by the byte, and whether it knows last words.

    python recipes/perplexity.py --model_name_or_path runs/clm/model --corpus my_texts/ more.jsonl --stride 128
    python recipes/perplexity.py --model_name_or_path runs/clm/model --passages lambada.jsonl

Documents are scored whole, by windows that slide over them: each token and the end of each document is charged once.
Bits per byte can be compared between models of different tokenizers.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.data import local
from hfrep.data.corpus import ReadingSettings, open_corpus
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import load_tokenizer, tokenizer_hash
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.evaluation.last_word import score_last_words
from hfrep.evaluation.long_context import score_documents
from hfrep.evaluation.sentences import BATCH_TOKENS
from hfrep.models.language_model import context_length, open_causal_model
from hfrep.settings import as_dict, parse, setting, writable_folder
from hfrep.training.launch import ThreadSettings, start_alone
from hfrep.training.record import environment


@dataclass(frozen=True, kw_only=True)
class PerplexitySettings(ReadingSettings):
    corpus: list[str] | None = setting(
        None, "text to judge it on: files, folders, Hub ids or docstrings; not what it was trained on", kind="operation"
    )
    model_name_or_path: str = setting("runs/clm/model", "causal language model: a folder or a Hub id")
    tokenizer: str | None = setting(
        None, "tokenizer: a folder or a Hub id; default: the model's", aliases=("tokenizer_name",)
    )
    passages: str | None = setting(
        None, "file of passages whose last word is asked for, instead of --corpus: .txt (one a line), .jsonl, .parquet"
    )
    window: int | None = setting(
        None, "tokens the model sees at once, the begin token included; default: what it was made for"
    )
    stride: int | None = setting(
        None, "tokens a window moves on by; fewer give more context and take more time; default: half a window"
    )
    eval_batch_tokens: int = setting(
        BATCH_TOKENS, "tokens, padding included, that go through the model at once", kind="operation"
    )
    output_dir: str = setting("runs/perplexity", "folder for results.json", kind="operation")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.corpus is None) == (self.passages is None):
            found = "neither" if self.corpus is None else "both"
            raise ConfigError(
                where="the text", expected="--corpus or --passages", found=found, do="name what to judge the model on"
            )
        for name, least in (("window", 2), ("stride", 1), ("eval_batch_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(where=name, expected=f"{least} or more", found=str(value), do="raise it")

    def windows(self, room: int) -> tuple[int, int]:
        """Window and stride for a model that was made for `room` tokens."""
        window = self.window or room
        if window > room:
            raise ConfigError(
                where="--window",
                expected=f"at most the {room} tokens the model was made for",
                found=str(window),
                do="lower it",
            )
        stride = self.stride or max(1, window // 2)
        if stride >= window:
            raise ConfigError(
                where="--stride", expected=f"less than the window of {window} tokens", found=str(stride), do="lower it"
            )
        return window, stride


GROUPS = (PerplexitySettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    groups = parse(*GROUPS, argv=argv, description=__doc__)
    settings, threads = groups
    device = start_alone(threads)
    tokenizer = load_tokenizer(settings.tokenizer or settings.model_name_or_path, own_pad=False)
    model = open_causal_model(settings.model_name_or_path, tokenizer).to(device)
    tokenizer = decoder_tokenizer(tokenizer)
    window, stride = settings.windows(context_length(model, tokenizer))
    folder = writable_folder(settings.output_dir)
    print(f"model      {settings.model_name_or_path}: {type(model).__name__}", flush=True)

    scores: dict[str, dict[str, float]] = {}
    if settings.passages:
        passages = list(local.read(Path(settings.passages), separator="line", column=settings.text_column))
        passages = [passage.strip() for passage in passages if passage.strip()][: settings.max_documents]
        word = score_last_words(model, tokenizer, passages, window=window, batch_tokens=settings.eval_batch_tokens)
        scores[settings.passages] = {**dataclasses.asdict(word), "perplexity": word.perplexity}
        protocol = f"last word after the rest, tokenized together; right where greedy; window {window}"
        print(f"{settings.passages}: {word}")
    else:
        for name in settings.corpus:
            text = score_documents(
                model,
                tokenizer,
                open_corpus(name, settings, splits=("validation", "train")).documents(),
                window=window,
                stride=stride,
                batch_tokens=settings.eval_batch_tokens,
            )
            scores[name] = {**dataclasses.asdict(text), **text.rates()}
            print(f"{name}: {text}", flush=True)
        protocol = f"every token and end of a document once; window {window}, stride {stride}"

    results = folder / "results.json"
    description = {
        **environment(),
        "settings": as_dict(groups),
        "tokenizer_hash": tokenizer_hash(tokenizer),
        "protocol": protocol,
        "scores": scores,
    }
    results.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    print(f"protocol   {protocol}\nresults    {results}")
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
