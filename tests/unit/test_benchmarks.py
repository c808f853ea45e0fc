"""The benchmark: its table is whole, sides take turns in processes of their own, no ratio without equal answers."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("bench")
    sys.path.remove(str(BENCHMARKS))


def test_each_comparison_is_whole(bench):
    """Ours is among the sides, goals are against others, and where a share is wanted the limit is measured."""
    from comparisons.on_gpu import ON_GPU, SHAPES

    assert len(bench.COMPARISONS) - len(ON_GPU) == 11
    assert len(SHAPES) == 3
    for name, comparison in bench.COMPARISONS.items():
        assert comparison.name == name
        assert bench.OURS in comparison.sides
        for goal in comparison.goals:
            assert goal.mine in {bench.OURS, "hfrep, AdamW"}
            assert {goal.mine, goal.against} <= set(comparison.sides) - {bench.LIMIT}
            assert not goal.against.startswith(bench.OURS)
        assert (bench.LIMIT in comparison.sides) == (comparison.operations is not None)
        assert comparison.tolerances or name == "start_up"
        assert comparison.quick.turn * comparison.quick.rounds <= comparison.full.turn * comparison.full.rounds


def test_no_ratio_without_equal_answers(bench):
    comparison = bench.COMPARISONS["packing"]
    bench.require_alike(comparison, {"hfrep": {"tokens": 2}, "datasets.map": {"tokens": 2}})
    words = (
        "packing: tokens is 2 for hfrep and 3 for datasets.map, expected within 0: no ratio is told of sides that do "
        "not compute the same"
    )
    with pytest.raises(SystemExit, match=words):
        bench.require_alike(comparison, {"hfrep": {"tokens": 2}, "datasets.map": {"tokens": 3}})
    with pytest.raises(SystemExit, match="no ratio"):
        bench.require_alike(comparison, {"hfrep": {"tokens": 2}, "datasets.map": {"tokens": float("nan")}})


@pytest.mark.multiprocess
def test_sides_take_turns(bench):
    """Two processes mask batches in turns and come to the same shares; what is kept is what is printed."""
    comparison = bench.COMPARISONS["masking"]
    row = bench.measure(comparison, bench.Amount(turn=60, rounds=2))
    assert set(row["sides"]) == set(comparison.sides)
    assert all(len(side["speeds"]) == 2 for side in row["sides"].values())
    assert row["sides"]["hfrep"]["answers"]["chosen"] == pytest.approx(0.15, abs=0.01)
    (goal,), (ratio,) = comparison.goals, row["ratios"]
    assert ratio["lowest"] <= ratio["median"] <= ratio["highest"]
    printed = list(bench.lines("masking", row))
    assert printed[-1].startswith(f"  hfrep against {goal.against}: {ratio['median']:.2f} ×")


@pytest.mark.multiprocess
def test_a_side_that_fails_is_shown(bench):
    with pytest.raises(SystemExit, match=r"nobody ended early:[\s\S]*KeyError: 'nobody'"):
        bench.Process.of(bench.COMPARISONS["masking"], "nobody").wait()


def test_a_row_that_cannot_be_told_costs_no_other(bench, monkeypatch, tmp_path, capsys):
    def measured(comparison, amount):
        if comparison.name == "packing":
            raise SystemExit("packing: tokens differ")
        ratio = {"against": "Trainer", "mine": "hfrep", "wanted": {"speed": 2.0, "memory": None}, "memory": None}
        ratio |= {"median": 3.0, "lowest": 3.0, "highest": 3.0}
        side = {"median": 3.0, "peak_bytes": None}
        row = {"unit": "rows", "minutes": 0.1, "share_of_limit": None, "sides": {"hfrep": side}, "ratios": [ratio]}
        return {"what": comparison.what, **row}

    monkeypatch.setattr(bench, "measure", measured)
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "packing", "masking", "--machine", "mine"])
    with pytest.raises(SystemExit, match="no ratio for packing: see above"):
        bench.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "packing: tokens differ"
    assert printed[-2] == "| masking 32 × 128 tokens | hfrep against Trainer | 3.00 × |  |  | 2 × |"
    assert {file.name for file in tmp_path.iterdir()} == {"mine.json", "mine.md", "mine.png"}


def test_useful_operations_of_a_step(bench):
    """BERT's shape by hand: 12 H² a layer and token, of the last layer 4; its other 8 and the head at labels."""
    limit = importlib.import_module("limit")
    from transformers import BertConfig, BertForMaskedLM

    shape = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForMaskedLM(BertConfig(vocab_size=50, **shape))
    work = limit.training_work(model, rows=4, length=10, labelled=0.25, causal=False)
    everywhere, at_labels = (2 * 12 + 4) * 8 * 8, (8 + 1) * 8 * 8 + 8 * 50
    assert sum(product.operations for product in work.products) == 6 * (40 * everywhere + 10 * at_labels)
    assert work.attention == 3 * (2 * 2 * 10 * 8) * 40 * 3
    half = limit.training_work(model, rows=4, length=10, labelled=0.25, causal=True)
    assert half.attention == work.attention / 2


@pytest.mark.parametrize("masked", [True, False])
def test_sides_of_a_gpu_on_a_cpu(bench, masked):
    """What can be seen without one: both sides find the same loss and gradient, and take steps."""
    from comparisons.on_gpu import Shape
    from where import CPU

    shape = Shape("bert-micro" if masked else "gpt2-micro", masked, 2, 16, 128)
    sides = [shape.ours("muon", CPU), shape.stock(CPU)]
    assert sides[0].answers == pytest.approx(sides[1].answers, rel=1e-4)
    for side in sides:
        turn = side.turn(2)
        assert turn.units == 2 * 2 * 16
        assert turn.seconds > 0
        side.folder.cleanup()


@pytest.mark.parametrize("name", ["full_fine_tuning", "lora_fine_tuning", "frozen"])
def test_sides_of_adaptation(bench, monkeypatch, name):
    """Both train on so many examples and predict the validation split."""
    adaptation = importlib.import_module("comparisons.adaptation")
    monkeypatch.setattr(adaptation, "VALIDATION_ROWS", 16)
    for make in bench.COMPARISONS[name].sides.values():
        side = make()
        turn = side.turn(32)
        assert turn.units == 32 * side.how.num_train_epochs
        assert turn.seconds > 0
        assert 0 <= side.answers["accuracy"] <= 1
        side.folder.cleanup()


@pytest.mark.parametrize(
    ("reaches", "shortest", "tried"),
    [
        (3.0, 3.2, ["4.00", "3.20", "2.56"]),
        (4.5, 5.0, ["4.00", "5.00"]),
        (100.0, None, ["4.00", "5.00", "6.25", "7.81"]),
    ],
)
def test_the_shortest_budget_is_looked_for(bench, tmp_path, reaches, shortest, tried):
    """From the goal's budget on, shorter while the loss is reached, longer until it is."""
    quality = importlib.import_module("time_to_loss")
    study, asked = quality.STUDIES["masked"], []

    class Found(dict):
        """Losses of runs that need not be made."""

        def __contains__(self, name: str) -> bool:
            asked.append(name.split()[1])
            return True

        def __getitem__(self, name: str) -> float:
            return 2.0 if float(name.split()[1]) >= reaches else 3.0

    class Setting:
        step_tokens, seed = 1000, 0

    notes = quality.Notes(tmp_path / "found.json")
    notes.found = Found()
    best = quality.our_minutes(study, [], Setting(), notes, tmp_path, 100.0, 20.0, 2.5)
    assert asked == tried
    assert best == (None if shortest is None else pytest.approx(shortest))
