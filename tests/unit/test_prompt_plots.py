"""The plots of prompting show the numbers they are given, in panels with labels that do not overlap."""

import itertools

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot as plt

from hfrep.evaluation.prompting.calibration import reliability
from hfrep.evaluation.prompting.plots import plot_reliability, plot_shots
from hfrep.evaluation.results_plot import COLOURS
from hfrep.evaluation.task_scores import Estimate

MODELS = ["gpt-micro, pretrained for one pass", "gpt-micro, random", "bert-micro"]
TASKS = ["SST-2", "MRPC", "RTE", "order of sentences"]


def curve(*values, shots=(0, 1, 4, 16)):
    """Scores with limits 0.03 below and 0.05 above."""
    return {shot: Estimate(value, value - 0.03, value + 0.05) for shot, value in zip(shots, values, strict=False)}


@pytest.fixture
def shots():
    """Four tasks, the second with two of the models and with two numbers of demonstrations for the last."""
    curves = {model: curve(0.5 + place / 50, 0.55, 0.6, 0.7 + place / 20) for place, model in enumerate(MODELS)}
    panels = {task: (curves, {"majority class": 0.5, "chance": 0.5}) for task in TASKS}
    fewer = {MODELS[0]: curves[MODELS[0]], MODELS[2]: curve(0.6, 0.7, shots=(0, 4))}
    return panels | {"MRPC": (fewer, {"majority class": 0.68, "chance": 0.5})}


@pytest.fixture
def reliabilities():
    """Three models on four tasks, of two or four classes."""
    draw = np.random.default_rng(0)
    made = {}
    for task, classes in zip(TASKS, (2, 2, 2, 4), strict=True):
        given = draw.dirichlet(np.ones(classes), 200)
        targets = draw.integers(classes, size=200)
        sharpened = [given**power for power in (0.5, 1, 2)]
        probabilities = [one / one.sum(axis=1, keepdims=True) for one in sharpened]
        made[task] = {name: reliability(one, targets) for name, one in zip(MODELS, probabilities, strict=True)}
    return made


@pytest.fixture
def kept(monkeypatch):
    """The figure that a plot leaves, which otherwise is closed."""
    monkeypatch.setattr(plt, "close", lambda figure: None)
    yield plt.gcf
    monkeypatch.undo()
    plt.close("all")


def lines(axes):
    """The curves and lines of a panel by name: (x, y)."""
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlaps(figure):
    """Pairs of texts that share a place, and texts that are cut off by the edge."""
    figure.canvas.draw()
    texts = [figure._suptitle, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
        texts += [*axes.get_legend().get_texts(), axes.get_legend().get_title()] if axes.get_legend() else []
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    inside = figure.bbox
    cut = [name for name, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > inside.x1 or box.y1 > inside.y1]
    pairs = [(one, other) for (one, box), (other, there) in itertools.combinations(boxes, 2) if box.overlaps(there)]
    return cut + pairs


def test_files_are_written_and_figures_closed(shots, reliabilities, tmp_path):
    """PNGs of a legible size with colours in them."""
    plot_shots(shots, tmp_path / "shots.png", metric="accuracy", title="Few shots")
    plot_reliability(reliabilities, tmp_path / "reliability.png", title="Reliability")
    for name in ("shots.png", "reliability.png"):
        image = matplotlib.image.imread(tmp_path / name)
        assert min(image.shape[:2]) > 800
        assert len(np.unique(image[::5, ::5].reshape(-1, image.shape[2]), axis=0)) > 10
    assert plt.get_fignums() == []


def test_a_panel_for_each_task(shots, kept, tmp_path):
    """In a square for four tasks; labels at the outer panels, evenly spaced numbers of demonstrations in all."""
    plot_shots(shots, tmp_path / "shots.png", metric="accuracy", title="Few shots")
    figure = kept()
    assert [axes.get_title() for axes in figure.axes] == TASKS
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy (points)", "", "accuracy (points)", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", *["demonstrations in the prompt"] * 2]
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "4", "16"]
        assert axes.get_xticks().tolist() == [0, 1, 2, 3]
    assert figure._suptitle.get_text() == "Few shots"
    assert legend(figure) == [*MODELS, "majority class", "chance", "95 % interval"]


def test_curves_are_the_scores(shots, kept, tmp_path):
    """Points at their numbers of demonstrations, side by side; bars from limit to limit; references straight across."""
    plot_shots(shots, tmp_path / "shots.png", metric="accuracy", title="Few shots")
    first, second, *_ = kept().axes
    found = lines(first)
    for place, model in enumerate(MODELS):
        assert found[model][:, 1] == pytest.approx([50 + 2 * place, 55, 60, 70 + 5 * place])
        assert found[model][:, 0].round().tolist() == [0, 1, 2, 3]
    assert len({found[model][0, 0] for model in MODELS}) == 3, "bars of one number stand side by side"
    bars = first.collections[0].get_segments()
    assert np.array(bars)[:, :, 1] == pytest.approx(np.array([[47, 55], [52, 60], [57, 65], [67, 75]]))
    assert found["majority class"][:, 1].tolist() == found["chance"][:, 1].tolist() == [50, 50]
    assert lines(second)["majority class"][:, 1] == pytest.approx([68, 68])
    assert list(lines(second)) == ["majority class", "chance", MODELS[0], MODELS[2]]
    assert lines(second)[MODELS[2]][:, 0].round().tolist() == [0, 2], "at 0 and 4 demonstrations"
    colours = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in (first, second)]
    assert colours[0][MODELS[2]] == colours[1][MODELS[2]] == COLOURS[2]


def test_equal_references_can_be_told_apart(shots, kept, tmp_path):
    """Majority and chance at the same height: the upper one is not solid, so that both are seen."""
    plot_shots(shots, tmp_path / "shots.png", metric="accuracy", title="Few shots")
    styles = [line.get_linestyle() for line in kept().axes[0].get_lines()[:2]]
    assert styles == ["-", ":"]


def test_reliability_is_drawn_beside_its_diagonal(reliabilities, kept, tmp_path):
    """Mean confidence across, accuracy up, Wilson's limits as bars, the calibration error of each curve above."""
    plot_reliability(reliabilities, tmp_path / "reliability.png", title="Reliability")
    figure = kept()
    assert [axes.get_title() for axes in figure.axes] == TASKS
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", *["confidence (points)"] * 2]
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy (points)", ""] * 2
    assert legend(figure) == [*MODELS, "as right as sure", "95 % interval"]
    for axes, curves in zip(figure.axes, reliabilities.values(), strict=True):
        found = lines(axes)
        assert found["as right as sure"].tolist() == [[0, 0], [100, 100]]
        for name, one in curves.items():
            assert found[name][:, 0] == pytest.approx([100 * part.confidence for part in one.bins])
            assert found[name][:, 1] == pytest.approx([100 * part.accuracy.value for part in one.bins])
        errors = [f"{100 * one.expected_calibration_error:.1f}" for one in curves.values()]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == errors
        bars = axes.collections[0].get_segments()
        limits = [(part.accuracy.low, part.accuracy.high) for part in curves[MODELS[0]].bins]
        assert np.array([bar[:, 1] for bar in bars]) == pytest.approx(100 * np.array(limits))
        sizes, parts = axes.collections[1].get_sizes(), curves[MODELS[0]].bins
        assert np.argsort(sizes, kind="stable").tolist() == np.argsort([p.count for p in parts], kind="stable").tolist()


@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 5])
def test_nothing_overlaps(shots, reliabilities, kept, tmp_path, tasks):
    """No text lies on another or beyond the edge, for one task or five; a place of the grid may stay empty."""
    for plot, panels, more in (
        (plot_shots, shots, {"metric": "accuracy", "title": "Few-shot prompting, 5 seeds"}),
        (plot_reliability, reliabilities, {"title": "Reliability with 4 demonstrations"}),
    ):
        given = dict(list((panels | {"CoLA": panels["RTE"]}).items())[:tasks])
        plot(given, tmp_path / "plot.png", **more)
        figure = kept()
        assert len(figure.axes) == tasks
        assert overlaps(figure) == []
        assert figure.axes[-1].get_xlabel()


def test_a_column_above_an_empty_place_has_its_label(shots, kept, tmp_path):
    """Five tasks in two rows of three: the third panel is the lowest of its column."""
    plot_shots(shots | {"CoLA": shots["RTE"]}, tmp_path / "shots.png", metric="score", title="Five")
    assert [bool(axes.get_xlabel()) for axes in kept().axes] == [False, False, True, True, True]
