"""Training a GPT-2 of 4 layers and width 256 on 16 × 256 tokens a step, in float32."""

import functools

import torch
from comparison import LIMIT, OURS, OURS_ADAMW, Amount, Comparison, Goal, by_either_optimizer
from language_models import CHECKED_ROWS, VOCABULARY, LoopSide, RandomRows, TrainerSide, dense, micro_batches
from limit import LimitSide, Work, training_work
from tokenizers import Tokenizer, models
from transformers import DataCollatorForLanguageModeling, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from hfrep.models.presets import set_dropout
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.training.launch import quiet_libraries

ROWS, LENGTH = 16, 256
PAD, BEGIN, END = 0, 1, 2


def make_rows() -> RandomRows:
    return RandomRows(2048, LENGTH, BEGIN, END)


def make_model(*, dropout: bool) -> GPT2LMHeadModel:
    quiet_libraries()
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_layer=4, n_embd=256, n_head=4, bos_token_id=BEGIN, eos_token_id=END)
    model = GPT2LMHeadModel(config)
    if not dropout:
        set_dropout(model, 0.0)
    return model


def make_objective() -> CausalLM:
    return CausalLM(make_model(dropout=False), CausalLMCollator())


def ours(optimizer: str) -> LoopSide:
    return LoopSide(make_objective(), make_rows(), ROWS, optimizer)


def stock(*, dropout: bool) -> TrainerSide:
    rows = make_rows()
    words = Tokenizer(models.WordLevel({"[PAD]": PAD}, unk_token="[PAD]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    batch = dense(micro_batches(make_objective(), rows, CHECKED_ROWS)[0])
    batch["labels"] = batch["input_ids"]  # the class shifts them itself
    examples = [{"input_ids": row} for row in rows.tokens.tolist()]
    return TrainerSide(make_model(dropout=dropout), collator, examples, ROWS, batch)


@functools.cache
def work() -> Work:
    # The last token of a row has none to predict.
    labelled = (LENGTH - 1) / LENGTH
    return training_work(make_model(dropout=False), rows=ROWS, length=LENGTH, labelled=labelled, causal=True)


CAUSAL_TRAINING = Comparison(
    name="causal_training",
    what=f"CLM training, GPT-2 4 × 256, {ROWS} × {LENGTH} tokens",
    unit="tokens",
    sides={
        OURS: lambda: ours("muon"),
        OURS_ADAMW: lambda: ours("adamw"),
        "Trainer": lambda: stock(dropout=True),
        "Trainer, dropout 0": lambda: stock(dropout=False),
        LIMIT: lambda: LimitSide(work().products),
    },
    goals=by_either_optimizer(Goal("Trainer", 2.0, memory=0.5), Goal("Trainer, dropout 0", 1.5, memory=0.5)),
    full=Amount(turn=4, rounds=4, warm_up=2),
    quick=Amount(turn=2, rounds=1, warm_up=1),
    tolerances={"loss": 1e-4, "gradient norm": 1e-3},
    operations=lambda: work().operations / (ROWS * LENGTH),
    share=0.65,
)
