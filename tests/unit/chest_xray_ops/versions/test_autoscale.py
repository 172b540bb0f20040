"""The controller, with a clock of its own."""

import os

import pytest

from chest_xray_ops.torchserve.server import default_workers, gpus
from chest_xray_ops.versions.autoscale import Controller, autoscale


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


def test_on_gpus_all_get_as_many():
    """Four of them: a worker for each comes, and goes."""
    loads = [lambda workers: 200] * 20 + [lambda workers: 0] * 60
    counts = run(Controller(4, 12, step=4), loads, workers=4)
    assert set(counts) == {4, 8, 12}
    assert counts[-1] == 4


@pytest.mark.parametrize(("given", "count"), [(None, 2), ("1", 1), ("0", 0), ("9", 2)])
def test_gpus_are_counted_as_torchserve_does(monkeypatch, tmp_path, given, count):
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A (UUID: a)\nGPU 1: NVIDIA B (UUID: b)'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("TS_DEFAULT_WORKERS_PER_MODEL", raising=False)
    monkeypatch.delenv("TS_NUMBER_OF_GPU", raising=False)
    if given:
        monkeypatch.setenv("TS_NUMBER_OF_GPU", given)
    assert gpus() == count
    for cores, workers in ((2, 3), (4, 6)) if count == 0 else ((1, count), (16, 8), (17, 8)):
        monkeypatch.setattr("chest_xray_ops.torchserve.server.cores", lambda cores=cores: cores)
        assert default_workers() == workers


def test_bounds_that_leave_a_gpu_without_are_refused():
    with pytest.raises(ValueError, match="multiples of 2"):
        autoscale(None, (1, 4), 2, None, print)


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
