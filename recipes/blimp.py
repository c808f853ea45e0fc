"""Judge a language model by minimal pairs: how often is the acceptable sentence the likelier one?

    python recipes/blimp.py --model_name_or_path runs/mlm/model --data blimp/data
    python recipes/blimp.py --model_name_or_path runs/mlm/model --data my_pairs.jsonl --scoring within_word_l2r

Data are BLiMP's files (https://github.com/alexwarstadt/blimp), or any .jsonl with `sentence_good` and `sentence_bad` in
each line. Masked models score by pseudo-log-likelihood, causal ones by log-likelihood, both summed over a sentence.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.data.tokenizer import load_tokenizer, tokenizer_hash
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.evaluation.likelihood import begin_token_id, log_likelihoods
from hfrep.evaluation.minimal_pairs import judge, read_minimal_pairs
from hfrep.evaluation.pseudo_likelihood import Scoring, pseudo_log_likelihoods
from hfrep.evaluation.sentences import BATCH_TOKENS
from hfrep.models.language_model import is_masked, open_language_model
from hfrep.settings import as_dict, parse, setting, writable_folder
from hfrep.training.launch import ThreadSettings, start_alone
from hfrep.training.record import environment

PROTOCOLS = {
    "pll": "pseudo-log-likelihood, each token masked once (Salazar et al. 2020)",
    "within_word_l2r": "pseudo-log-likelihood, each token masked with the rest of its word (Kauf and Ivanova 2023)",
    "log_likelihood": "log-likelihood after the begin token",
    "log_likelihood_without_first": "log-likelihood without the first token, since the tokenizer has no begin token",
}
INTERVALS = "95% intervals are Wilson's over pairs, of the effective number of pairs (Kish 1965) for a mean"


@dataclass(frozen=True, kw_only=True)
class BlimpSettings:
    model_name_or_path: str = setting("", "masked or causal language model to judge: a folder or a Hub id")
    tokenizer: str | None = setting(
        None, "tokenizer: a folder or a Hub id; default: the model's", aliases=("tokenizer_name",)
    )
    data: str = setting(
        "", "minimal pairs: a .jsonl file (also .gz) or a folder of them, with sentence_good and sentence_bad"
    )
    scoring: Scoring | None = setting(
        None,
        "of masked models; pll (default): each token masked once; within_word_l2r: with the later tokens of its word",
    )
    max_pairs: int | None = setting(None, "pairs of each paradigm that are used, the first ones; default: all")
    eval_batch_tokens: int = setting(
        BATCH_TOKENS, "tokens, padding included, that go through the model at once", kind="operation"
    )
    output_dir: str = setting("runs/blimp", "folder for results.json", kind="operation")

    def __post_init__(self) -> None:
        for name, wanted in (("model_name_or_path", "a folder or a Hub id"), ("data", "a file or a folder of pairs")):
            if not getattr(self, name):
                raise ConfigError(where=f"--{name}", expected=wanted, found="none", do=f"give --{name}")
        for name in ("max_pairs", "eval_batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(where=name, expected="1 or more", found=str(value), do="raise it")


GROUPS = (BlimpSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    groups = parse(*GROUPS, argv=argv, description=__doc__)
    settings, threads = groups
    device = start_alone(threads)
    pairs = read_minimal_pairs(Path(settings.data), max_pairs=settings.max_pairs)
    tokenizer = load_tokenizer(settings.tokenizer or settings.model_name_or_path, own_pad=False)
    model = open_language_model(settings.model_name_or_path, tokenizer).to(device)
    results = writable_folder(settings.output_dir) / "results.json"
    print(f"model      {settings.model_name_or_path}: {type(model).__name__}")
    print(f"pairs      {len(pairs):,} from {settings.data}", flush=True)

    # Every sentence in one go: those of like length share a batch, whatever their pair.
    sentences = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
    if is_masked(model):
        protocol = settings.scoring or "pll"
        scores = pseudo_log_likelihoods(
            model, tokenizer, sentences, scoring=protocol, batch_tokens=settings.eval_batch_tokens
        )
    elif settings.scoring:
        raise ConfigError(
            where="--scoring",
            expected=f"none with {type(model).__name__}, which scores a sentence by its log-likelihood",
            found=settings.scoring,
            do="leave it out",
        )
    else:
        first = begin_token_id(tokenizer) is not None
        protocol = "log_likelihood" if first else "log_likelihood_without_first"
        scores = log_likelihoods(model, tokenizer, sentences, batch_tokens=settings.eval_batch_tokens)
    judgement = judge(pairs, scores.nats[: len(pairs)], scores.nats[len(pairs) :])

    told = (
        f"{PROTOCOLS[protocol]}, summed over tokens; {len(pairs):,} pairs, ties (here {judgement.overall.ties:,}) "
        f"count as half; means over the {len(judgement.paradigms)} paradigms; {INTERVALS}"
    )
    description = {
        **environment(),
        "settings": as_dict(groups),
        "tokenizer_hash": tokenizer_hash(tokenizer),
        "scoring": protocol,
        "protocol": told,
        **dataclasses.asdict(judgement),
    }
    results.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    print("\n".join([*judgement.table(), f"protocol   {told}", f"results    {results}"]))
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
