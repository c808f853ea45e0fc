"""Let a causal language model write.

    python recipes/generate.py --prompt "The array" "A function that"
    python recipes/generate.py --prompts my_prompts.txt --temperature 0.7 --seeds 0 1 2 --output_file written.jsonl

Prompts of the command line are answered one by one, text appearing as it is written; those of a file (one a line) in
batches. Draws are repeatable: the same prompts, settings and seeds give the same text on the same machine.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from transformers import TextStreamer

from hfrep.data import local
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, DataError, told_in_one_sentence
from hfrep.evaluation.generation import GenerationSettings, generate
from hfrep.models.language_model import open_causal_model
from hfrep.settings import parse, setting
from hfrep.training.launch import ThreadSettings, start_alone


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    model_name_or_path: str = setting("runs/clm/model", "causal language model: a folder or a Hub id")
    tokenizer: str | None = setting(
        None, "tokenizer: a folder or a Hub id; default: the model's", aliases=("tokenizer_name",)
    )
    prompt: list[str] | None = setting(None, "texts to go on from; default without --prompts: one empty text")
    prompts: str | None = setting(None, "file with a text to go on from in each line")
    seeds: list[int] = setting([0], "seeds of the draws; each prompt is answered once for each")
    eval_batch_size: int = setting(16, "prompts of a file that are answered at once", kind="operation")
    output_file: str | None = setting(
        None, "write prompts, seeds and texts there (.jsonl) instead of printing them", kind="operation"
    )

    def __post_init__(self) -> None:
        if self.prompt is not None and self.prompts is not None:
            raise ConfigError(
                where="the prompts", expected="--prompt or --prompts", found="both", do="put all of them into the file"
            )
        if self.output_file is not None and not Path(self.output_file).absolute().parent.is_dir():
            folder = str(Path(self.output_file).absolute().parent)
            raise ConfigError(where="--output_file", expected="a folder that is there", found=folder, do="make it")
        if self.eval_batch_size < 1:
            found = str(self.eval_batch_size)
            raise ConfigError(where="eval_batch_size", expected="1 or more", found=found, do="raise it")

    def batches(self) -> Iterator[list[str]]:
        """Prompts that are answered together: one at a time where they are shown as they are written."""
        if self.prompts:
            lines = local.read(Path(self.prompts), separator="line", column="prompt")
            texts = [line.rstrip("\n") for line in lines if line.strip()]
            if not texts:
                raise DataError(where=self.prompts, expected="a prompt or more", found="none", do="correct the file")
        else:
            texts = self.prompt or [""]
        size = self.eval_batch_size if self.prompts or self.output_file else 1
        return (texts[first : first + size] for first in range(0, len(texts), size))


GROUPS = (PromptSettings, GenerationSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    settings, writing, threads = parse(*GROUPS, argv=argv, description=__doc__)
    device = start_alone(threads)
    tokenizer = load_tokenizer(settings.tokenizer or settings.model_name_or_path, own_pad=False)
    model = open_causal_model(settings.model_name_or_path, tokenizer).to(device)
    tokenizer = decoder_tokenizer(tokenizer)
    batches = list(settings.batches())

    # Written aside, so that a file of that name stays until there is another.
    aside = None if settings.output_file is None else Path(f"{settings.output_file}.partial")
    with nullcontext() if aside is None else open(aside, "w", encoding="utf-8") as file:
        for seed in settings.seeds:
            for prompts in batches:
                alone = len(prompts) == 1 and file is None
                streamer = TextStreamer(tokenizer, skip_special_tokens=True) if alone else None
                texts = generate(model, tokenizer, prompts, writing, seed=seed, streamer=streamer)
                for prompt, text in zip(prompts, texts, strict=True):
                    if file is not None:
                        file.write(json.dumps({"prompt": prompt, "seed": seed, "text": text}) + "\n")
                    elif not alone:
                        print(f"{prompt}{text}\n", flush=True)
    if aside is not None:
        aside.replace(settings.output_file)
        print(f"texts: {settings.output_file}")
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
