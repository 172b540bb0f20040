"""The controller, with a clock of its own."""

import pytest

from autoscale import Controller


def run(controller, loads, workers=2, step=5.0):
    """Worker counts after each decision; ``loads``: per step, the queue that workers leave."""
    counts, now = [], 1000.0
    for load in loads:
        workers = controller.wanted(now, workers, load(workers))
        counts.append(workers)
        now += step
    return counts


def test_it_grows_while_requests_wait_and_stops_at_the_most():
    counts = run(Controller(1, 4), [lambda workers: 100] * 20)
    assert counts[0] == 3
    assert counts[-1] == 4
    assert counts == sorted(counts)


def test_it_rests_after_a_change():
    counts = run(Controller(1, 9), [lambda workers: 500] * 7)
    assert counts == [3, 3, 3, 4, 4, 4, 5]


def test_it_shrinks_after_a_calm_only():
    counts = run(Controller(1, 4), [lambda workers: 0] * 60, workers=4)
    assert counts[:13] == [4] * 13
    assert counts[-1] == 1
    assert counts == sorted(counts, reverse=True)


def test_a_load_that_one_worker_less_cannot_bear_makes_it_swing_less_and_less():
    """Three workers leave nothing queued, two do not keep up; for a day."""
    counts = run(Controller(1, 4), [lambda workers: 0 if workers >= 3 else 80] * 17_280)
    changes = sum(a != b for a, b in zip(counts, counts[1:], strict=False))
    assert counts[-1] in (2, 3)
    assert changes < 70  # twice an hour in the end
    assert counts.count(3) > 0.98 * len(counts)


def test_a_short_lull_changes_nothing():
    loads = [lambda workers: 5] * 5 + [lambda workers: 0] * 6 + [lambda workers: 5] * 5
    assert set(run(Controller(1, 4), loads)) == {2}


@pytest.mark.parametrize(("workers", "target"), [(0, 2), (9, 4)])
def test_it_keeps_the_bounds(workers, target):
    assert Controller(2, 4).wanted(0, workers, 0) == target
