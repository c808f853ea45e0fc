"""Training bert-base and gpt2-small on a GPU, in bfloat16: ours compiled, the other side compiled and as it comes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from comparison import LIMIT, OURS, OURS_ADAMW, Amount, Comparison, Goal, Side, by_either_optimizer
from language_models import CHECKED_ROWS, LoopSide, RandomRows, TrainerSide, dense, micro_batches
from limit import LimitSide, Work, training_work
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling
from where import Where

from hfrep.models.presets import CausalModelSettings, MaskedModelSettings, build_model, set_dropout
from hfrep.objectives.base import Objective
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.objectives.masking import MaskedLMCollator
from hfrep.objectives.mlm import MaskedLM
from hfrep.training.launch import quiet_libraries

RATE = 0.15
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EAGER, COMPILED = Where(gpu=True), Where(gpu=True, compiled=True)


@dataclass(frozen=True)
class Shape:
    """A model by its preset, and the rows of a step."""

    model: str
    masked: bool
    rows: int
    length: int
    vocabulary: int

    def objective(self) -> Objective:
        quiet_libraries()
        torch.manual_seed(0)
        kind, auto_class = (
            (MaskedModelSettings, AutoModelForMaskedLM) if self.masked else (CausalModelSettings, AutoModelForCausalLM)
        )
        tokenizer = self.tokenizer()
        model = build_model(
            kind(model=self.model), tokenizer=tokenizer, sequence_length=self.length, auto_class=auto_class
        )
        if not self.masked:
            return CausalLM(model, CausalLMCollator())
        return MaskedLM(model, MaskedLMCollator.of(tokenizer, rates=(RATE, RATE), by="token", seed=0))

    def tokenizer(self) -> BertTokenizer:
        words = SPECIAL + [f"w{number}" for number in range(self.vocabulary - len(SPECIAL))]
        frame = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
        return BertTokenizer(vocab={word: number for number, word in enumerate(words)}, **frame)

    def random_rows(self) -> RandomRows:
        return RandomRows(2048, self.length, SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]"), self.vocabulary)

    def ours(self, optimizer: str, where: Where) -> LoopSide:
        return LoopSide(self.objective(), self.random_rows(), self.rows, optimizer, where)

    def stock(self, where: Where) -> TrainerSide:
        objective, rows = self.objective(), self.random_rows()
        batch = dense(micro_batches(objective, rows, CHECKED_ROWS)[0])
        if not self.masked:
            batch["labels"] = batch["input_ids"]  # the class shifts them itself
        model = type(objective.kept)(objective.kept.config)
        model.load_state_dict(objective.kept.state_dict())
        set_dropout(model, 0.0)
        collator = DataCollatorForLanguageModeling(self.tokenizer(), mlm=self.masked)
        examples = [{"input_ids": row} for row in rows.tokens.tolist()]
        return TrainerSide(model, collator, examples, self.rows, batch, where)

    def work(self) -> Work:
        labelled = RATE * (self.length - 2) / self.length if self.masked else (self.length - 1) / self.length
        model = self.objective().kept
        return training_work(model, rows=self.rows, length=self.length, labelled=labelled, causal=not self.masked)

    def comparison(self) -> Comparison:
        sides: dict[str, Callable[[], Side]] = {
            OURS: functools.partial(self.ours, "muon", COMPILED),
            OURS_ADAMW: functools.partial(self.ours, "adamw", COMPILED),
            "hfrep, not compiled": functools.partial(self.ours, "muon", EAGER),
            "Trainer, dropout 0": functools.partial(self.stock, EAGER),
            "Trainer, dropout 0, compiled": functools.partial(self.stock, COMPILED),
            LIMIT: lambda: LimitSide(self.work().products, EAGER),
        }
        return Comparison(
            name=f"gpu_{self.model.replace('-', '_')}_{self.length}",
            what=f"{self.model}, {self.rows} × {self.length} tokens, bfloat16 on a GPU",
            unit="tokens",
            sides=sides,
            goals=by_either_optimizer(Goal("Trainer, dropout 0", 1.5), Goal("Trainer, dropout 0, compiled", 1.0)),
            full=Amount(turn=20, rounds=5, warm_up=10),
            quick=Amount(turn=5, rounds=2, warm_up=5),
            tolerances={"loss": 1e-3, "gradient norm": 1e-2},
            operations=lambda: self.work().operations / (self.rows * self.length),
            gpu=True,
        )


SHAPES = (
    Shape("bert-base", True, 256, 128, 30_522),
    Shape("bert-base", True, 64, 512, 30_522),
    Shape("gpt2-small", False, 32, 1024, 50_257),
)
ON_GPU = [shape.comparison() for shape in SHAPES] if torch.cuda.is_available() else []
