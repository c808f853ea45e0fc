"""`recipes/fewshot.py` from prompts to tables: what it leaves, on two processes, fed with mistakes."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import RECIPES, recipe
from micros import micro, opinionated
from tasks_on_disk import write_model, write_task
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.errors import HfrepError

PROMPT = """
title: garden
labels: [house, garden]
templates:
  - text: "{{first}} Of what? {{answer}}"
    choices: {house: the house, garden: the garden}
  - text: "{{first}} It is about {{answer}}"
    choices: {house: house, garden: garden}
masked_templates:
  - text: "{{first}} It is about {{answer}} here."
    choices: {house: house, garden: garden}
unconditioned: "It is about"
"""

WORD = """
templates:
  - text: "{{first.rsplit(' ', 1)[0]}} {{answer}}"
scored: greedy
answer: "{{first.rsplit(' ', 1)[1]}}"
"""


@pytest.fixture(scope="module")
def main():
    return recipe("fewshot").main


@pytest.fixture(scope="module")
def given(wordpiece, bpe, tmp_path_factory):
    """Two causal models and a masked one, a prompt and its items; the flags that name the last two and the first."""
    folder = tmp_path_factory.mktemp("given")
    for name, seed in (("gpt", 0), ("other", 1)):
        tokenizer = decoder_tokenizer(bpe)
        made = opinionated(micro("gpt2-micro", tokenizer, length=256, seed=seed))
        made.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    write_model(folder / "bert", wordpiece)
    write_task(folder / "task", rows=(40, 30))
    (folder / "garden.yaml").write_text(PROMPT)
    return folder


def flags(given, output, *more, models=("gpt",), prompt="garden.yaml"):
    return [
        *("--model_name_or_path", *(str(given / name) for name in models), "--prompt", str(given / prompt)),
        *("--train_file", str(given / "task" / "train.jsonl")),
        *("--validation_file", str(given / "task" / "validation.jsonl")),
        *("--output_dir", str(output), "--cpu_threads", "1", *map(str, more)),
    ]


WHOLE = (
    "--shots",
    0,
    2,
    "--seeds",
    0,
    1,
    "--normalization",
    "sum",
    "pmi",
    "--calibration",
    "none",
    "contextual",
    "batch",
)


@pytest.fixture(scope="module")
def finished(main, given, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "run"
    assert main(flags(given, output, *WHOLE, models=("gpt", "other", "bert"))) == 0
    return output


def lines(folder):
    return json.loads((folder / "results.json").read_text())["lines"]


def records(folder):
    return [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def test_every_model_shot_and_method_has_a_line_with_its_interval(finished):
    found = lines(finished)
    assert len(found) == 3 * 2 * 6
    assert {line["shots"] for line in found} == {0, 2}
    assert all(line["low"] <= line["score"] <= line["high"] for line in found)
    assert all(line["guesses"]["chance"] == 0.5 for line in found)
    runs = {(line["model"].split("/")[-1], line["shots"]): len(line["by_run"]) for line in found}
    assert runs["gpt", 0] == 2, "templates; without shots all seeds are the same"
    assert runs["gpt", 2] == 4, "templates times seeds"
    assert runs["bert", 2] == 2, "an prompt_tokenizer has a template of its own"


def test_the_protocol_of_each_score_is_told(finished):
    told = (finished / "results.md").read_text()
    for part in ("prompt garden ", "templates 1, 2", "0, 2 shots (random, seeds 0, 1)", "pmi, contextual", "n = 30"):
        assert part in told
    assert "log-probability at the masks" in told


def test_plots_and_a_run_are_left(finished):
    assert (finished / "shots.png").stat().st_size > 10_000
    assert (finished / "calibration.png").stat().st_size > 10_000
    assert "result" in json.loads((finished / "run.json").read_text())


def test_another_tool_can_check_each_item(finished, given):
    """From the record alone: the likelihoods by the stock classes, and the score by the predictions."""
    tokenizer = AutoTokenizer.from_pretrained(given / "gpt")
    model = AutoModelForCausalLM.from_pretrained(given / "gpt").eval()
    found = [one for one in records(finished) if one["model"].endswith("gpt")]
    assert len(found) == 30 * (2 + 4)
    for record in found[::17]:
        for choice, nats, tokens in zip(record["choices"], record["nats"], record["tokens"], strict=True):
            ids = tokenizer(record["prompt"] + choice)["input_ids"]
            with torch.no_grad():
                probabilities = torch.log_softmax(model(torch.tensor([ids])).logits, -1)[0]
            scored = range(len(ids) - tokens, len(ids))
            assert sum(probabilities[at - 1, ids[at]].item() for at in scored) == pytest.approx(nats, abs=1e-4)
    run = [one for one in found if (one["shots"], one["template"], one["seed"]) == (2, 1, 0)]
    right = np.mean([one["prediction"]["sum"] == one["target"] for one in run])
    line = next(line for line in lines(finished) if line["shots"] == 2 and line["calibration"] == "none")
    by_run = {(one["template"], one["seed"]): one["score"] for one in line["by_run"]}
    assert by_run[1, 0] == pytest.approx(right)


def test_predictions_follow_from_the_recorded_likelihoods(finished):
    for record in records(finished)[::7]:
        nats, without = np.array(record["nats"]), np.array(record["unconditioned"])
        assert record["prediction"]["sum"] == nats.argmax()
        assert record["prediction"]["pmi"] == (nats - without).argmax()


def test_batch_calibration_is_over_the_items_of_a_run(finished):
    run = [one for one in records(finished) if (one["shots"], one["template"], one["seed"]) == (2, 1, 1)][:30]
    nats = np.array([one["nats"] for one in run])
    shares = np.exp(nats - np.logaddexp.reduce(nats, axis=1, keepdims=True))
    assert [one["prediction"]["sum, batch"] for one in run] == (shares / shares.mean(0)).argmax(1).tolist()


def test_demonstrations_stand_in_the_prompt_and_are_not_the_item(finished, given):
    rows = [json.loads(line) for line in (given / "task" / "train.jsonl").read_text().splitlines()]
    for record in (one for one in records(finished)[::11] if one["shots"] == 2):
        shown = record["prompt"].split("\n\n")
        assert len(shown) == 3 - record["dropped"]
        for row, text in zip(record["demonstrations"][record["dropped"] :], shown[:-1], strict=True):
            assert text.startswith(rows[row]["first"])
            assert rows[row]["label"] in text.removeprefix(rows[row]["first"])


@pytest.mark.multiprocess
def test_two_processes_say_what_one_does(given, finished, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    output = tmp_path / "two"
    run = subprocess.run(
        [*command, str(RECIPES / "fewshot.py"), *flags(given, output, *WHOLE, models=("gpt", "other", "bert"))],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("results    ") == 1
    for one, two in zip(records(finished), records(output), strict=True):
        assert one["prompt"] == two["prompt"]
        assert one["nats"] == pytest.approx(two["nats"], abs=1e-5)


def test_items_of_the_training_corpus_are_told_and_left_out(main, given, tmp_path, capsys):
    rows = [json.loads(line)["first"] for line in (given / "task" / "validation.jsonl").read_text().splitlines()]
    long = [row for row in rows if len(row.split()) >= 14]
    (tmp_path / "corpus.txt").write_text("\n\n".join(long[:5]) + "\n")
    assert main(flags(given, tmp_path / "run", "--shots", 0, "--check_contamination", tmp_path / "corpus.txt")) == 0
    printed = capsys.readouterr().out
    assert "contamination: garden" in printed
    assert f"{len(set(long[:5])):,} of " in printed
    assert "without touched" in printed


def test_the_corpus_can_be_that_of_the_models_run(main, given, tmp_path, capsys):
    rows = [json.loads(line)["first"] for line in (given / "task" / "validation.jsonl").read_text().splitlines()]
    (tmp_path / "corpus.txt").write_text("\n\n".join(rows) + "\n")
    run = tmp_path / "trained"
    run.mkdir()
    (run / "model").symlink_to(given / "gpt")
    flagged = flags(given, tmp_path / "out", "--shots", 0, "--check_contamination", "run")
    flagged[1] = str(run / "model")
    with pytest.raises(HfrepError, match=r"expected a run\.json beside the folder .*, found FileNotFoundError"):
        main(flagged)
    settings = {"corpus": [str(tmp_path / "corpus.txt")], "validation_fraction": 0.01}
    (run / "run.json").write_text(json.dumps({"settings": settings | {"blocks": "me/blocks"}, "identity": {}}))
    with pytest.raises(HfrepError, match=r"expected a run from texts, found one from blocks \(me/blocks\)"):
        main(flagged)
    (run / "run.json").write_text(json.dumps({"settings": settings, "identity": {}}))
    assert main(flagged) == 0
    assert "contamination: garden" in capsys.readouterr().out


@pytest.mark.parametrize("labels", ["names", "numbers"])
def test_a_label_in_words_hides_no_contamination(labels, main, given, tmp_path):
    """An item of ten words is looked for whole, and its label is none of them."""
    words = "the small teacher paints a green boat near the garden"
    rows = [{"first": words, "label": "garden"}, {"first": f"often {words}", "label": "house"}]
    if labels == "numbers":
        rows = [{**row, "label": number} for number, row in enumerate(rows[::-1])][::-1]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "corpus.txt").write_text(f"They say: {words}!\n")
    flagged = [
        str(tmp_path / "rows.jsonl") if part.endswith("validation.jsonl") else part
        for part in flags(given, tmp_path / "run", "--shots", 0, "--check_contamination", tmp_path / "corpus.txt")
    ]
    assert main(flagged) == 0
    found = lines(tmp_path / "run")[0]
    assert (found["touched_items"], found["checked_items"]) == (1, 2)
    assert set(found["without_touched"]) == {"value", "low", "high"}


def test_who_always_says_one_class_is_not_better_than_guessing(main, given, tmp_path):
    """Held against the class that most items are of, whatever was shown."""
    rows = [{"first": f"the house {number}", "label": "house" if number else "garden"} for number in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flagged = [
        str(tmp_path / "rows.jsonl") if part.endswith("validation.jsonl") else part
        for part in flags(given, tmp_path / "run", "--shots", 0)
    ]
    assert main(flagged) == 0
    assert lines(tmp_path / "run")[0]["guesses"]["majority class"] == pytest.approx(0.95)
    assert "better" not in (tmp_path / "run" / "results.md").read_text()


def test_a_folder_of_another_recipe_is_left_alone(main, given, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"identity": {"rows": "trained on"}}')
    with pytest.raises(HfrepError, match=r"found the run\.json of another recipe; give another --output_dir"):
        main(flags(given, tmp_path / "run", "--shots", 0))
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"identity": {"rows": "trained on"}}


def test_what_an_earlier_run_left_is_cleared_away(main, given, tmp_path):
    assert main(flags(given, tmp_path / "run", "--shots", 0)) == 0
    assert (tmp_path / "run" / "calibration.png").exists()
    (given / "word.yaml").write_text(WORD)
    assert main(flags(given, tmp_path / "run", "--shots", 0, prompt="word.yaml")) == 0
    assert not (tmp_path / "run" / "calibration.png").exists()


def test_half_of_a_character_is_refused(main, given, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"first": "a \\ud800 b", "label": "house"}\n')
    flagged = [
        str(tmp_path / "rows.jsonl") if part.endswith("validation.jsonl") else part
        for part in flags(given, tmp_path / "run")
    ]
    with pytest.raises(HfrepError, match=r"expected UTF-8 in column 'first', found half of a character in row 1"):
        main(flagged)


def test_other_labels_make_another_prompt(main, given, tmp_path):
    (given / "swapped.yaml").write_text(PROMPT.replace("[house, garden]", "[garden, house]"))
    for name in ("garden", "swapped"):
        assert main(flags(given, tmp_path / name, "--shots", 0, prompt=f"{name}.yaml")) == 0
    hashes = [
        lines(tmp_path / name)[0]["protocol"].split("prompt ")[1].split(",")[0].split()[1]
        for name in ("garden", "swapped")
    ]
    assert hashes[0] != hashes[1]


def test_nothing_is_asked_where_a_later_task_cannot_be(main, given, tmp_path):
    """Too few rows of the second task are told before the first is asked."""
    (given / "own.yaml").write_text(PROMPT.replace("title: garden", "title: own"))
    folder = tmp_path / "data"
    for name, rows in (("garden", 9), ("own", 3)):
        write_task(folder / name, rows=(rows, 4))
    with pytest.raises(HfrepError, match="prompt own: expected 5 rows to show, other than the item, found 3"):
        main(
            [
                *(
                    "--model_name_or_path",
                    str(given / "gpt"),
                    "--data",
                    str(folder),
                    "--shots",
                    "5",
                    "--cpu_threads",
                    "1",
                ),
                *(
                    "--prompt",
                    str(given / "garden.yaml"),
                    str(given / "own.yaml"),
                    "--output_dir",
                    str(tmp_path / "run"),
                ),
            ]
        )
    assert not (tmp_path / "run" / "items.jsonl").exists()


def test_nearest_demonstrations_are_found_by_the_model(main, given, tmp_path):
    assert main(flags(given, tmp_path / "run", "--shots", 2, "--demonstrations", "nearest", "--seeds", 0)) == 0
    shown = [tuple(one["demonstrations"]) for one in records(tmp_path / "run")]
    assert len(set(shown)) > 10, "other items are shown others"


def test_a_greedy_answer_counts_where_the_model_would_write_it(main, given, tmp_path):
    (given / "word.yaml").write_text(WORD)
    assert main(flags(given, tmp_path / "run", "--shots", 0, prompt="word.yaml")) == 0
    found = records(tmp_path / "run")
    assert all(one["prediction"]["exact"] == one["greedy"][0] for one in found)
    assert lines(tmp_path / "run")[0]["score"] == pytest.approx(np.mean([one["greedy"][0] for one in found]))


def test_a_model_that_knows_nothing_is_not_called_better(finished):
    assert "not above chance" in (finished / "results.md").read_text()
    assert all(math.isfinite(line["expected_calibration_error"]) for line in lines(finished))


MISTAKES = {
    "no such prompt": (["--task", "sst3"], r"--task: expected one of .*, found sst3; did you mean sst5\?"),
    "no such model": (["--model_name_or_path", "nowhere/at/all"], "a Hub id that can be fetched or is in the cache"),
    "no default model": (["--model_name_or_path", "runs/clm/model"], r"make one with recipes/clm\.py"),
    "negative shots": (["--shots", "-1"], "--shots: expected 0 or more, found -1"),
    "no such template": (["--templates", "3"], "numbers from 1 to 2 for prompt garden, found 3"),
    "no such calibration": (["--calibration", "some"], "--calibration: expected some of none, contextual, batch"),
    "more shots than rows": (["--shots", "41"], "expected 41 rows to show, other than the item, found 40"),
    "nearest and contextual": (
        ["--demonstrations", "nearest", "--calibration", "contextual"],
        "--calibration: expected none or batch with --demonstrations nearest",
    ),
    "a number twice": (["--shots", "0", "0"], "--shots: expected one or more, each once, found 0, 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(mistake, main, given, tmp_path):
    more, words = MISTAKES[mistake]
    flagged = flags(given, tmp_path / "run", *more)
    if more[0] == "--model_name_or_path":
        flagged = [*flagged[2:]]
    if more[0] == "--task":
        flagged = [*flagged[:2], *more, *flagged[-4:]]
    with pytest.raises(HfrepError, match=words):
        main(flagged)
    assert not (tmp_path / "run" / "results.json").exists()


def test_an_item_that_fits_without_demonstrations_only_goes_without(main, given, tmp_path, capsys):
    assert main(flags(given, tmp_path / "run", "--shots", 16, "--seeds", 0, "--templates", 1)) == 0
    dropped = sum(one["dropped"] for one in records(tmp_path / "run"))
    assert 0 < dropped < 16 * 30
    assert (
        f"16 shots: {dropped:,} of 480 demonstrations did not fit and were dropped, the oldest first"
        in capsys.readouterr().out
    )


def test_an_item_that_does_not_fit_alone_is_refused_or_cut(main, given, tmp_path, capsys):
    rows = [{"first": "the river " * 300, "label": "garden"}, {"first": "the house", "label": "house"}]
    file = tmp_path / "long.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flagged = [
        str(file) if part.endswith("validation.jsonl") else part
        for part in flags(given, tmp_path / "run", "--shots", 0)
    ]
    with pytest.raises(
        HfrepError, match=r"items of at most the 512 tokens .* without demonstrations, found .*--long_items cut"
    ):
        main(flagged)
    assert main([*flagged, "--long_items", "cut"]) == 0
    assert "the beginnings of 2 items were cut off" in capsys.readouterr().out


def test_a_model_that_is_no_language_model_is_refused(main, given, wordpiece, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertForSequenceClassification(BertConfig(vocab_size=len(wordpiece), **shape)).save_pretrained(
        tmp_path / "classifier"
    )
    wordpiece.save_pretrained(tmp_path / "classifier")
    flagged = flags(given, tmp_path / "run")
    flagged[1] = str(tmp_path / "classifier")
    with pytest.raises(
        HfrepError, match="a masked or a causal language model, saved with its head, found BertForSequenceClass"
    ):
        main(flagged)


def test_an_encoder_does_not_write(main, given, tmp_path):
    (given / "write.yaml").write_text(
        'templates: [{text: "{{first}} {{answer}}"}]\nscored: generated\nanswer: "{{label}}"\n'
    )
    with pytest.raises(
        HfrepError, match="a causal language model, since its answers are written, found BertForMaskedLM"
    ):
        main(flags(given, tmp_path / "run", models=("bert",), prompt="write.yaml"))


def test_a_causal_model_is_not_asked_in_the_middle_of_a_text(main, given, tmp_path):
    (given / "middle.yaml").write_text(
        PROMPT.split("  - text")[0]
        + '  - text: "{{first}} {{answer}} is it."\n    choices: {house: house, garden: garden}\n'
    )
    with pytest.raises(HfrepError, match=r"\{\{answer\}\} at the end of a template for a causal language model"):
        main(flags(given, tmp_path / "run", prompt="middle.yaml"))


def test_options_cannot_be_calibrated(main, given, tmp_path):
    (given / "options.yaml").write_text(
        'templates: [{text: "What? {{answer}}", choices: ["{{first}}", "house"]}]\nlabel: "0"\n'
    )
    with pytest.raises(HfrepError, match=r"--calibration: expected none for prompt options.*give --normalization pmi"):
        main(flags(given, tmp_path / "run", "--calibration", "batch", prompt="options.yaml"))
