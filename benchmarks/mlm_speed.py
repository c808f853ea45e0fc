"""Training speed against `transformers.Trainer`, on the same work in one run.

Both sides train bert-mini (vocabulary 30 522) on 32 × 128 tokens a step at 15 % masking, in float32 on the CPU, with
AdamW and the same number of threads. The stock side is `Trainer` with `DataCollatorForLanguageModeling`, as its
examples use it; ours is the loop's own step behind the addressed, masked loader. They take turns of a few steps, and
the medians over the turns are compared. First, both classes are shown to give the same loss on one masked batch.

    python benchmarks/mlm_speed.py --rounds 5 --steps 8
"""

import argparse
import statistics
import tempfile

import torch
from sides import RandomRows, batches_of, our_side, stock_side
from transformers import BertForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from hfrep.models.presets import ModelSettings, build_model
from hfrep.objectives.base import IGNORED
from hfrep.objectives.masking import MaskedLMCollator
from hfrep.objectives.mlm import MaskedLM
from hfrep.training.launch import quiet_libraries, usable_cores

VOCABULARY, ROWS, LENGTH = 30_522, 32, 128
SHAPE = ModelSettings(model="bert-mini")


def make_tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def make_objective(tokenizer: PreTrainedTokenizerFast) -> MaskedLM:
    torch.manual_seed(0)
    model = build_model(SHAPE, tokenizer=tokenizer, sequence_length=LENGTH)
    return MaskedLM(model, MaskedLMCollator.of(tokenizer, rates=(0.15, 0.15), by="token", seed=0))


def assert_same_loss(tokenizer: PreTrainedTokenizerFast, rows: RandomRows) -> None:
    """The stock class on all positions and ours on the labelled ones give the same mean loss."""
    objective = make_objective(tokenizer)
    batch = next(batches_of(objective, rows, ROWS))[0]
    stock = BertForMaskedLM(objective.kept.config).eval()
    stock.load_state_dict(objective.kept.state_dict())
    real = batch["labels"] != IGNORED
    dense = torch.full((ROWS * LENGTH,), IGNORED)
    dense[batch["label_positions"][real]] = batch["labels"][real]
    with torch.no_grad():
        theirs = stock(input_ids=batch["input_ids"], labels=dense.view(ROWS, LENGTH)).loss
        ours = objective(batch)["mlm"] / objective.counts(batch)["mlm"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    print(f"same loss on one batch: stock {theirs:.6f}, hfrep {ours:.6f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps a turn")
    arguments = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(usable_cores())
    tokenizer = make_tokenizer()
    rows = RandomRows(4096, LENGTH, VOCABULARY, tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert_same_loss(tokenizer, rows)
    with tempfile.TemporaryDirectory() as folder:
        model = BertForMaskedLM(make_objective(tokenizer).kept.config)
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        sides = {
            "transformers.Trainer": stock_side(model, collator, rows, ROWS, folder),
            "hfrep, adamw": our_side(make_objective(tokenizer), rows, ROWS, LENGTH, "adamw"),
            "hfrep, muon": our_side(make_objective(tokenizer), rows, ROWS, LENGTH, "muon"),
        }
        for run in sides.values():
            run(2)
        speeds = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, run in sides.items():
                speeds[name].append(run(arguments.steps))
    reference = speeds["transformers.Trainer"]
    print(f"bert-mini, {VOCABULARY:,} words, {ROWS} × {LENGTH} tokens a step, fp32, {torch.get_num_threads()} threads")
    for name, values in speeds.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(values, reference, strict=True))
        print(f"{name:<22} {statistics.median(values):8,.0f} tokens/s   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
