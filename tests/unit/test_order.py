"""Addressing: which row stands at a position."""

import numpy as np
import pytest

from hfrep.data.batches import Division
from hfrep.data.order import (
    PERIOD,
    Ahead,
    GroupedByLength,
    Mixture,
    Shuffled,
    counter_hash,
    order_of,
    permuted,
    rank_slice,
    uniform,
)
from hfrep.errors import ConfigError

PRIMES = (999_983, 1_000_003)


@pytest.mark.parametrize("sizes", [range(1, 301), PRIMES], ids=["1 to 300", "primes near a million"])
def test_permutation_is_bijective(sizes):
    """Each row of a pass comes exactly once, for any number of rows."""
    for size in sizes:
        image = permuted(seed=5, passes=np.full(size, 3), size=size, indices=np.arange(size))
        assert np.array_equal(np.sort(image), np.arange(size)), size


@pytest.mark.parametrize("size", [100, 1000])
def test_passes_and_seeds_are_shuffled_differently(size):
    """Another pass or another seed gives another order, and none gives the stored one."""
    index = np.arange(size)
    orders = [permuted(seed, np.full(size, number), size, index) for seed, number in [(0, 0), (0, 1), (1, 0)]]
    for order in orders:
        assert np.mean(order == index) < 0.1
    assert np.mean(orders[0] == orders[1]) < 0.1
    assert np.mean(orders[0] == orders[2]) < 0.1


@pytest.mark.parametrize("size", [37, 5000])
def test_neighbours_spread_over_all_rows(size):
    """Rows that stand next to each other in a pass are no nearer than random ones (mean distance size / 3)."""
    distances = [
        np.abs(np.diff(permuted(0, np.full(size, number), size, np.arange(size)))).mean() for number in range(40)
    ]
    assert np.mean(distances) == pytest.approx(size / 3, rel=0.1)


def test_a_batch_may_span_passes():
    """Positions at the end of a pass and the start of the next take rows of both, and nothing is dropped."""
    stream = Shuffled(size=10, seed=0)
    passes, rows = stream(np.arange(40))
    assert passes.tolist() == [position // 10 for position in range(40)]
    for number in range(4):
        assert sorted(rows[passes == number]) == list(range(10))


def test_addresses_do_not_hang_on_how_they_are_asked():
    """One call for a range gives what a call per position gives."""
    order = Mixture((70, 500, 30), (1.0, 2.0, 0.5), seed=2)
    positions = np.arange(5000, 5300)
    together = order(positions)
    one_by_one = [order(positions[i : i + 1]) for i in range(len(positions))]
    for part in (0, 1):
        assert together[part].tolist() == [int(single[part][0]) for single in one_by_one]


def test_mixture_meets_its_quotas_exactly():
    """In every period of 1 024 positions each corpus stands exactly as often as its share."""
    order = Mixture((100, 1000, 10), (0.5, 0.3, 0.2), seed=0)
    _, rows = order(np.arange(5 * PERIOD))
    counts = [np.histogram(rows[i * PERIOD : (i + 1) * PERIOD], [0, 100, 1100, 1110])[0] for i in range(5)]
    for count in counts:
        assert count.tolist() == [512, 307, 205]


def test_a_small_corpus_of_a_mixture_comes_round_evenly():
    """Within a mixture each corpus has whole passes of its own: its rows are seen equally often."""
    order = Mixture((64, 1000), (1.0, 1.0), seed=0)
    _, rows = order(np.arange(4 * PERIOD))
    seen = np.bincount(rows[rows < 64], minlength=64)
    assert set(seen) == {4 * 512 // 64}


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, 1e-6)])
def test_weights_that_do_not_match_are_refused(weights):
    """The message says how many weights were expected and which were found."""
    with pytest.raises(ConfigError, match=r"corpus_weights: expected one weight per corpus \(2\).*found 1\.0"):
        order_of([10, 10], weights, seed=0)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_rank_slices_cover_a_batch(ranks):
    """Slices follow each other, cover every position once, and differ by at most one row."""
    slices = [rank_slice(100, 132, rank, ranks) for rank in range(ranks)]
    assert [position for part in slices for position in range(*part)] == list(range(100, 132))
    sizes = [stop - start for start, stop in slices]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("device_rows", "ranks"), [(32, 1), (5, 1), (8, 2), (3, 3), (1, 5)])
def test_micro_batches_cover_a_batch(device_rows, ranks):
    """However a global batch is divided, its micro-batches hold each position once."""
    covered = []
    for rank in range(ranks):
        division = Division(batch_rows=32, device_rows=device_rows, rank=rank, ranks=ranks)
        for micro in range(division.micro_batches):
            covered += division.positions(step=4, micro=micro).tolist()
    assert sorted(covered) == list(range(128, 160))


def test_uniform_numbers_are_uniform_and_unrelated():
    """Mean, variance and the correlation between purposes are those of independent uniform numbers."""
    first, second = (uniform(7, purpose, np.arange(200)[:, None], np.arange(500)[None, :]) for purpose in (0, 1))
    assert first.mean() == pytest.approx(0.5, abs=0.005)
    assert first.var() == pytest.approx(1 / 12, rel=0.02)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0, abs=0.015)
    assert np.corrcoef(first[:, 1:].ravel(), first[:, :-1].ravel())[0, 1] == pytest.approx(0, abs=0.015)


def test_hashes_of_nearby_keys_do_not_collide():
    """A hundred thousand neighbouring keys give as many hashes."""
    hashes = counter_hash(0, np.arange(400)[:, None], np.arange(250)[None, :])
    assert len(np.unique(hashes)) == 100_000


LENGTHS = np.random.default_rng(0).integers(1, 100, 700)


def grouped(end=None, batch_rows=8):
    return GroupedByLength(Shuffled(700, 3), LENGTHS, batch_rows, seed=3, end=end)


def test_grouping_takes_the_same_rows_window_by_window():
    """Inside each window of 64 batches the rows are those of the order it groups, each as often."""
    plain, order = Shuffled(700, 3), grouped()
    for window in range(3):
        positions = np.arange(window * 512, (window + 1) * 512)
        theirs, ours = zip(*plain(positions), strict=True), zip(*order(positions), strict=True)
        assert sorted(theirs) == sorted(ours)


def test_grouped_batches_are_of_like_length_and_shuffled():
    """A batch spans few lengths, and short batches do not come first."""
    _, rows = grouped()(np.arange(512))
    lengths = LENGTHS[rows].reshape(64, 8)
    assert np.ptp(lengths, axis=1).mean() < np.ptp(LENGTHS) / 10
    assert abs(np.corrcoef(np.arange(64), lengths.mean(1))[0, 1]) < 0.5


def test_grouping_is_a_function_of_the_position():
    """Positions asked for one by one, or from the middle of a run, give what a whole range gives."""
    passes, rows = grouped()(np.arange(1200))
    order = grouped()
    for position in (0, 511, 512, 700, 1199, 3):
        one_pass, one_row = order(np.array([position]))
        assert (one_pass[0], one_row[0]) == (passes[position], rows[position])


def test_a_run_that_ends_inside_a_window_takes_exactly_its_rows():
    """With an end, the last window is cut there: two passes are two passes, and only the last batch is short."""
    end = 1400
    passes, rows = grouped(end)(np.arange(end))
    assert sorted(zip(passes, rows, strict=True)) == [(number, row) for number in range(2) for row in range(700)]
    uneven = GroupedByLength(Shuffled(70, 0), LENGTHS[:70], 16, seed=0, end=70)
    _, rows = uneven(np.arange(70))
    assert sorted(rows) == list(range(70))
    assert all(
        np.ptp(np.argsort(np.argsort(LENGTHS[:70], kind="stable"))[rows[n * 16 : n * 16 + 16]]) == 15 for n in range(4)
    )


def test_positions_ahead_are_those_of_the_order():
    """Whatever is asked for and in what order, also over the edge of what is kept."""
    order, draw = Shuffled(700, 3), np.random.default_rng(0)
    ahead = Ahead(order)
    for first in (0, 4090, 32, 12_280):
        positions = first + draw.permutation(40)
        for mine, expected in zip(ahead(positions), order(positions), strict=True):
            np.testing.assert_array_equal(mine, expected)
