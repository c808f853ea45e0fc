"""Early stopping: when it is enough, and which weights are kept."""

import torch
from torch import nn

from hfrep.adaptation.stopping import SCORE, EarlyStopping


def stopping(module, folder, patience=2, run="a run"):
    return EarlyStopping(module, folder / "best.safetensors", run=run, patience=patience, eval_steps=10, writes=True)


def set_to(module, value):
    with torch.no_grad():
        module.weight.fill_(value)


def test_it_is_enough_after_patience_and_the_best_weights_come_back(tmp_path):
    """Two evaluations without a better score end it, equal ones are not better, and the best weights are restored."""
    module = nn.Linear(1, 1, bias=False)
    early = stopping(module, tmp_path)
    told = []
    for step, score in ((10, 0.5), (20, 0.7), (30, 0.7), (40, 0.6)):
        set_to(module, step)
        told.append(early.enough(step, {SCORE: score}))
    assert told == [False, False, False, True]
    early.restore()
    assert module.weight.item() == 20


def test_a_killed_run_stops_where_the_whole_one_does(tmp_path):
    """Taken up again from a step before the best one, the same evaluations lead to the same end."""
    scores = {10: 0.5, 20: 0.7, 30: 0.6, 40: 0.65}
    module = nn.Linear(1, 1, bias=False)
    first = stopping(module, tmp_path)
    for step in (10, 20, 30):
        set_to(module, step)
        first.enough(step, {SCORE: scores[step]})
    again = stopping(module, tmp_path)
    told = [again.enough(10, {})]
    for step in (20, 30, 40):
        set_to(module, step)
        told.append(again.enough(step, {SCORE: scores[step]}))
    assert told == [False, False, False, True]
    again.restore()
    assert module.weight.item() == 20


def test_an_ended_run_is_known_to_have_ended(tmp_path):
    """Resumed behind its end, it is enough at once, without another evaluation."""
    module = nn.Linear(1, 1, bias=False)
    first = stopping(module, tmp_path)
    for step, score in ((10, 0.9), (20, 0.1), (30, 0.1)):
        ended = first.enough(step, {SCORE: score})
    assert ended
    assert stopping(module, tmp_path).enough(30, {})
    assert not stopping(module, tmp_path).enough(20, {})


def test_only_what_trains_is_kept(tmp_path):
    """Frozen weights are not written, and stay as they are."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    early = stopping(module, tmp_path)
    early.enough(10, {SCORE: 1.0})
    assert early.file.stat().st_size < 400
    before = module[0].weight.clone()
    early.restore()
    assert torch.equal(module[0].weight, before)


def test_the_best_of_another_run_is_not_looked_at(tmp_path):
    """A file that another training left does not stop this one, and is replaced."""
    module = nn.Linear(1, 1, bias=False)
    set_to(module, 1)
    stopping(module, tmp_path).enough(10, {SCORE: 0.9})
    other = stopping(module, tmp_path, run="another run")
    set_to(module, 2)
    assert not other.enough(10, {SCORE: 0.2})
    other.restore()
    assert module.weight.item() == 2
