"""What a run leaves to read survives kills, resumes and runs that end before their first record."""

import json

import pytest
from accelerate import Accelerator

from hfrep.training.record import Record, RecordSettings, plot_losses


@pytest.fixture
def record(tmp_path):
    return Record(Accelerator(cpu=True), RecordSettings(logging_steps=1), str(tmp_path))


def opened(record, step):
    record.open({"settings": {}}, step=step, done=0.0, tokens_per_step=8)
    return record


def test_a_resumed_run_drops_what_came_after_its_checkpoint(record, tmp_path):
    """Records of steps that are done again are not there twice."""
    opened(record, step=0)
    for step in (1, 2, 3):
        record.step(step, step / 4, seconds_per_step=0.5, loss=5.0 - step)
    assert [line["step"] for line in opened(record, step=2).metrics()] == [1, 2]
    record.step(3, 0.75, seconds_per_step=0.5, loss=2.0)
    assert record.metrics()[-1] == {"step": 3, "tokens": 24, "loss": 2.0, "tokens_per_second": 16.0}


def test_a_line_that_a_kill_cut_short_is_left_out(record, tmp_path):
    """What was written before it is kept, and the file is whole again."""
    opened(record, step=0).step(1, 0.25, seconds_per_step=0.5, loss=4.0)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    opened(record, step=2).step(3, 0.75, seconds_per_step=0.5, loss=2.0)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 3]


def test_the_plot_needs_no_record(tmp_path):
    """A run that was stopped at once has an empty plot, and nothing is warned of."""
    plot_losses([], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
