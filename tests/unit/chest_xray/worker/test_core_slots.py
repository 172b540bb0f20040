import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

from chest_xray.worker.core_slots import CoreSlots

HOUR_NS = 3_600_000_000_000
HOLDER = """
import sys, time
from pathlib import Path
from chest_xray.machine import cores
from chest_xray.worker.core_slots import CoreSlots
slots = CoreSlots(int(sys.argv[1]), Path(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    with slots.one():
        start = time.monotonic()
        time.sleep(0.01)
        print(start, time.monotonic(), flush=True)
"""


@pytest.fixture
def holders(tmp_path):
    """Processes that each take a slot for 10 ms, so many times."""
    started = []

    def start(count, slots, times):
        for _ in range(count):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, str(slots), str(times), str(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def most_at_once(spans):
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    held, most = 0, 0
    for _, change in events:
        held += change
        most = max(most, held)
    return most


@pytest.mark.parametrize("slots", [1, 2])
def test_never_more_than_slots(holders, slots):
    lines = [process.communicate()[0] for process in holders(4, slots, 20)]
    spans = [tuple(map(float, line.split())) for text in lines for line in text.splitlines()]
    assert len(spans) == 80
    assert most_at_once(spans) <= slots


def test_a_killed_holder_gives_its_slot_back(holders, tmp_path, monkeypatch):
    [holder] = holders(1, 1, 1000)
    holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    slots = CoreSlots(1, tmp_path)
    start = time.monotonic()
    with slots.one():
        assert time.monotonic() - start < 5
    slots.close()


def test_an_error_gives_the_slot_back(tmp_path, monkeypatch):
    slots, other = CoreSlots(1, tmp_path), CoreSlots(1, tmp_path)
    with pytest.raises(KeyError), slots.one():
        raise KeyError
    with other.one():
        pass
    slots.close()
    other.close()


def test_share_uses_the_spare_slots_and_keeps_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr("chest_xray.worker.core_slots._LATELY_NS", 0)
    slots, other = CoreSlots(3, tmp_path), CoreSlots(3, tmp_path)

    def double(part):
        return threading.get_ident(), [2 * each for each in part]

    items = list(range(7))
    for others, expected in ((0, 3), (1, 2), (2, 1)):
        with ExitStack() as stack:
            for _ in range(others):
                stack.enter_context(other.one())
            found = slots.share(double, items)
        assert [each for _, part in found for each in part] == [2 * each for each in items]
        assert len(found) == expected
        assert found[0][0] == threading.get_ident()
    assert len(slots.share(double, items[:1])) == 1
    slots.close()
    other.close()


def test_a_slot_that_another_has_just_left_is_not_spare(tmp_path, monkeypatch):
    monkeypatch.setattr("chest_xray.worker.core_slots._LATELY_NS", HOUR_NS)
    slots, other = CoreSlots(2, tmp_path), CoreSlots(2, tmp_path)
    with ExitStack() as stack:
        stack.enter_context(slots.one())
        stack.enter_context(other.one())
    assert len(slots.share(list, [0, 1])) == 1
    for path in tmp_path.glob("chest-xray-slot-[01]"):
        os.utime(path, (0, 0))
    for _ in range(3):  # its own spare ones stay spare
        assert len(slots.share(list, [0, 1])) == 2
    slots.close()
    other.close()


@pytest.mark.parametrize(("items", "parts"), [(7, 1), (15, 1), (16, 2), (100, 3)])
def test_in_turn_waits_for_as_many_slots_as_the_items_fill(tmp_path, monkeypatch, items, parts):
    monkeypatch.setattr("chest_xray.worker.core_slots._LATELY_NS", HOUR_NS)  # none is spare
    slots, other = CoreSlots(3, tmp_path), CoreSlots(3, tmp_path)
    with ThreadPoolExecutor(1) as sharer:
        with other.one(), other.one():
            shared = sharer.submit(slots.share, list, list(range(items)), in_turn=True)
            done, _ = wait([shared], timeout=0.3 if parts > 1 else 60)
            assert bool(done) is (parts == 1)
        assert len(shared.result()) == parts
    slots.close()
    other.close()


def test_share_gives_all_slots_back_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("chest_xray.worker.core_slots._LATELY_NS", 0)
    slots = CoreSlots(2, tmp_path)
    for wrong in (0, 1):
        with pytest.raises(ZeroDivisionError):
            slots.share(lambda part, wrong=wrong: 1 / (part[0] - wrong), [0, 1])
    assert len(slots.share(list, [0, 1])) == 2
    slots.close()
