"""The recipe end to end on tiny models and a handful of pairs."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import sentences
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from hfrep.errors import HfrepError
from hfrep.evaluation.pseudo_likelihood import pseudo_log_likelihoods
from hfrep.models.presets import ModelSettings, build_model

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "blimp.py"
MAIN = runpy.run_path(str(RECIPE))["main"]
PARADIGMS = {"agreement": 14, "binding": 9, "islands": 5}


@pytest.fixture(scope="module")
def pairs():
    made = iter(zip(sentences(28, seed=1), sentences(28, seed=2), strict=True))
    rows = [
        {"sentence_good": good, "sentence_bad": bad, "UID": name, "linguistics_term": "x" if name != "islands" else "y"}
        for name, number in PARADIGMS.items()
        for good, bad in (next(made) for _ in range(number))
    ]
    rows[-1]["sentence_bad"] = rows[-1]["sentence_good"]
    return rows


@pytest.fixture(scope="module")
def data(pairs, tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return file


@pytest.fixture(scope="module")
def encoder(wordpiece, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    build_model(ModelSettings(model="bert-micro"), tokenizer=wordpiece, sequence_length=64).save_pretrained(folder)
    wordpiece.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(bpe, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("decoder")
    config = GPT2Config(vocab_size=len(bpe), n_positions=128, n_embd=32, n_layer=2, n_head=2, initializer_range=0.2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save_pretrained(folder)
    return folder


def flags(model, data, folder, *more):
    given = {"model_name_or_path": model, "data": data, "output_dir": folder, "cpu_threads": 1}
    return [*(part for name, value in given.items() for part in (f"--{name}", str(value))), *more]


def expected(pairs, nats):
    """Accuracy per paradigm from the nats of all good sentences, then all bad ones."""
    right = dict.fromkeys(PARADIGMS, 0.0)
    for number, row in enumerate(pairs):
        difference = nats[number] - nats[number + len(pairs)]
        right[row["UID"]] += 0.5 if row["sentence_good"] == row["sentence_bad"] else float(difference > 0)
    return {name: right[name] / PARADIGMS[name] for name in PARADIGMS}


def both(pairs):
    return [row["sentence_good"] for row in pairs] + [row["sentence_bad"] for row in pairs]


def test_a_causal_model(decoder, data, pairs, tmp_path, capsys):
    """Table, protocol and results.json hold what the stock class's own losses say."""
    assert MAIN(flags(decoder, data, tmp_path / "out")) == 0
    tokenizer, model = AutoTokenizer.from_pretrained(decoder), AutoModelForCausalLM.from_pretrained(decoder).eval()
    nats = []
    for text in both(pairs):
        ids = torch.tensor([tokenizer(text).input_ids[:-1]])  # <s> and the sentence, without </s>
        nats.append(-model(ids, labels=ids).loss.item() * (ids.shape[1] - 1))
    accuracies = expected(pairs, nats)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {name: one["accuracy"] for name, one in results["paradigms"].items()} == pytest.approx(accuracies)
    assert results["overall"]["accuracy"] == pytest.approx(sum(accuracies.values()) / 3)
    assert (results["overall"]["pairs"], results["overall"]["ties"]) == (28, 1)
    assert results["scoring"] == "log_likelihood"
    assert results["settings"]["data"] == str(data)
    *_, mean, protocol, written = capsys.readouterr().out.splitlines()
    assert mean.split()[:5] == ["mean", "of", "3", "paradigms", f"{results['overall']['accuracy']:.1%}"]
    for words in (
        "log-likelihood after the begin token",
        "28 pairs, ties (here 1) count as half",
        "means over the 3 paradigms",
        "95% intervals",
    ):
        assert words in protocol
    assert written.endswith(str(tmp_path / "out" / "results.json"))


@pytest.mark.parametrize("scoring", ["pll", "within_word_l2r"])
def test_a_masked_model(scoring, encoder, wordpiece, data, pairs, tmp_path, capsys):
    """The variant asked for is the one that scores, and the one that is named."""
    assert MAIN(flags(encoder, data, tmp_path, "--scoring", scoring)) == 0
    model = build_model(ModelSettings(model_name_or_path=str(encoder)), tokenizer=wordpiece, sequence_length=64)
    accuracies = expected(pairs, pseudo_log_likelihoods(model, wordpiece, both(pairs), scoring=scoring).nats)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {name: one["accuracy"] for name, one in results["paradigms"].items()} == accuracies
    assert results["scoring"] == scoring
    assert results["members"] == {"x": ["agreement", "binding"], "y": ["islands"]}
    cited = {"pll": "Salazar et al. 2020", "within_word_l2r": "Kauf and Ivanova 2023"}
    printed = capsys.readouterr().out
    assert f"pseudo-log-likelihood, each token masked {'once' if scoring == 'pll' else 'with'}" in printed
    assert cited[scoring] in printed


def test_max_pairs(encoder, data, tmp_path, capsys):
    """Each paradigm gives that many."""
    assert MAIN(flags(encoder, data, tmp_path, "--max_pairs", "4")) == 0
    assert "; 12 pairs, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--data", ""], "--data: expected a file or a folder of pairs, found none; give --data"),
        (["--model_name_or_path", ""], "--model_name_or_path: expected a folder or a Hub id, found none"),
        (["--data", "nowhere"], "nowhere: expected a file or a folder of minimal pairs, found nothing there"),
        (["--model_name_or_path", "./nowhere"], "./nowhere"),
        (["--max_pairs", "0"], "max_pairs: expected 1 or more, found 0"),
        (["--eval_batch_tokens", "0"], "eval_batch_tokens: expected 1 or more, found 0"),
        (["--scoring", "guess"], "invalid choice: 'guess'"),
        (["--scorin", "pll"], "did you mean --scoring?"),
        (["--scoring", "pll"], "expected none with GPT2LMHeadModel, which scores a sentence by its log-likelihood"),
    ],
)
def test_wrong_input_is_one_sentence(decoder, data, tmp_path, wrong, words):
    """Each mistake names what was expected, what was found and what to do, and writes no results."""
    with pytest.raises(HfrepError) as told:
        MAIN(flags(decoder, data, tmp_path / "out", *wrong))
    assert words in str(told.value)
    assert not (tmp_path / "out" / "results.json").exists()


def test_without_data_a_user_sees_one_line(decoder):
    """No default path: started as a user starts it, it says so in one line and exits with status 2."""
    run = subprocess.run(
        [sys.executable, str(RECIPE), "--model_name_or_path", str(decoder)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 2
    assert run.stderr == "error: --data: expected a file or a folder of pairs, found none; give --data.\n"


def test_a_folder_that_cannot_be_written_is_told_before_the_work(decoder, data, monkeypatch):
    """Nothing is scored for results that have nowhere to go."""
    monkeypatch.setitem(MAIN.__globals__, "log_likelihoods", None)
    with pytest.raises(HfrepError, match=r"expected a folder that can be written, found .*; give another --output_dir"):
        MAIN(flags(decoder, data, data))
