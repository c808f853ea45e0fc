"""Training bert-mini on 32 × 128 tokens a step at 15 % masks, in float32."""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from comparison import LIMIT, OURS, OURS_ADAMW, Amount, Comparison, Goal, Side, by_either_optimizer
from language_models import CHECKED_ROWS, VOCABULARY, LoopSide, RandomRows, TrainerSide, dense, micro_batches
from limit import LimitSide, Work, training_work
from transformers import BertForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from hfrep.models.presets import ModelSettings, build_model, set_dropout
from hfrep.objectives.masking import MaskedLMCollator
from hfrep.objectives.mlm import MaskedLM
from hfrep.training.launch import quiet_libraries

ROWS, LENGTH, RATE = 32, 128, 0.15


@functools.cache
def make_tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def make_rows() -> RandomRows:
    tokenizer = make_tokenizer()
    return RandomRows(4096, LENGTH, tokenizer.cls_token_id, tokenizer.sep_token_id)


def make_collator() -> MaskedLMCollator:
    return MaskedLMCollator.of(make_tokenizer(), rates=(RATE, RATE), by="token", seed=0)


def stock_examples(rows: RandomRows) -> list[dict[str, list[int]]]:
    """As the example script makes them, which has the tokenizer tell special tokens (`Trainer` drops that again)."""
    special = np.zeros(LENGTH, int)
    special[[0, -1]] = 1
    return [{"input_ids": row, "special_tokens_mask": special.tolist()} for row in rows.tokens.tolist()]


def make_objective() -> MaskedLM:
    quiet_libraries()
    torch.manual_seed(0)
    model = build_model(ModelSettings(model="bert-mini"), tokenizer=make_tokenizer(), sequence_length=LENGTH)
    return MaskedLM(model, make_collator())


def ours(optimizer: str) -> LoopSide:
    return LoopSide(make_objective(), make_rows(), ROWS, optimizer)


def stock(*, dropout: bool) -> TrainerSide:
    objective, rows = make_objective(), make_rows()
    model = BertForMaskedLM(objective.kept.config)
    model.load_state_dict(objective.kept.state_dict())
    if not dropout:
        set_dropout(model, 0.0)
    collator = DataCollatorForLanguageModeling(make_tokenizer(), mlm_probability=RATE)
    batch = dense(micro_batches(objective, rows, CHECKED_ROWS)[0])
    return TrainerSide(model, collator, stock_examples(rows), ROWS, batch)


@functools.cache
def work() -> Work:
    labelled = RATE * (LENGTH - 2) / LENGTH  # special tokens are never masked
    return training_work(make_objective().kept, rows=ROWS, length=LENGTH, labelled=labelled, causal=False)


SIDES: Mapping[str, Callable[[], Side]] = {
    OURS: lambda: ours("muon"),
    OURS_ADAMW: lambda: ours("adamw"),
    "Trainer": lambda: stock(dropout=True),
    "Trainer, dropout 0": lambda: stock(dropout=False),
}
WHAT = f"MLM training, bert-mini, {ROWS} × {LENGTH} tokens"

MASKED_TRAINING = Comparison(
    name="masked_training",
    what=WHAT,
    unit="tokens",
    sides={**SIDES, LIMIT: lambda: LimitSide(work().products)},
    goals=by_either_optimizer(Goal("Trainer", 3.3), Goal("Trainer, dropout 0", 2.5)),
    full=Amount(turn=6, rounds=5, warm_up=2),
    quick=Amount(turn=3, rounds=1, warm_up=1),
    tolerances={"loss": 1e-4, "gradient norm": 1e-3},
    operations=lambda: work().operations / (ROWS * LENGTH),
    share=0.65,
)
MASKED_TRAINING_LAUNCHED = Comparison(
    name="masked_training_launched",
    what=f"{WHAT}, by `accelerate launch`",
    unit="tokens",
    sides={name: SIDES[name] for name in (OURS, "Trainer")},
    goals=[Goal("Trainer", 5.5)],
    full=Amount(turn=5, rounds=4, warm_up=2),
    quick=Amount(turn=2, rounds=1, warm_up=1),
    tolerances={"loss": 1e-4, "gradient norm": 1e-3},
    launched=True,
)
