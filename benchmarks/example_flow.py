"""What the example script for masked models does up to its first step: text file, `datasets.map` twice, `Trainer`.

python benchmarks/example_flow.py corpus.jsonl tokenizers/wordpiece-8k folder
"""

import itertools
import sys
from pathlib import Path
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

LENGTH = 128


class Sign(TrainerCallback):
    """Writes a file when a step is done."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.file.write_text("done")


def main(corpus: str, tokenizer_folder: str, output: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    raw = load_dataset("json", data_files={"train": corpus})
    raw["validation"] = load_dataset("json", data_files={"train": corpus}, split="train[:5%]")
    raw["train"] = load_dataset("json", data_files={"train": corpus}, split="train[5%:]")
    tokenized = raw.map(
        lambda batch: tokenizer(batch["text"], return_special_tokens_mask=True), batched=True, remove_columns=["text"]
    )
    rows = tokenized.map(group, batched=True)
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    trainer = Trainer(
        model=BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)),
        args=TrainingArguments(
            output_dir=output, per_device_train_batch_size=32, max_steps=1000, use_cpu=True, report_to="none"
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
        callbacks=[Sign(Path(output) / "step")],
    )
    trainer.train()


def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
    joined = {name: list(itertools.chain(*rows)) for name, rows in batch.items()}
    total = len(joined["input_ids"]) // LENGTH * LENGTH
    return {name: [row[n : n + LENGTH] for n in range(0, total, LENGTH)] for name, row in joined.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
