"""What callers see when something breaks, and that the service comes back by itself."""

import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from callers import calling

pytestmark = pytest.mark.e2e

WORKER = b"model_service_worker"


def wait_until(condition, seconds=60):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)
    return time.monotonic() - start


def answers(server, film):
    headers = {**server.headers, "Content-Type": "image/png"}
    try:
        return requests.post(server.url, headers=headers, data=film, timeout=30).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def running(start, tmp_path):
    server = start(tmp_path, CHEST_XRAY_PATIENCE_S="5")
    server.wait_ready()
    return server


def test_killed_workers_under_load(running, film):
    """Those whose batch it was get a clear error; all others their label; then all is as before."""
    restarts = []
    with calling(running, film) as seen:
        for _ in range(3):
            time.sleep(1)
            victim = random.choice(running.pids(WORKER))
            os.kill(victim, signal.SIGKILL)
            restarts.append(wait_until(partial(whole, running, 2, victim)))
    print(f"full capacity after {[round(each, 1) for each in restarts]} s; {dict(seen.answers)}")
    assert max(restarts) < 10
    assert set(seen.failures) <= {"status 500", "status 507"}
    assert sum(seen.failures.values()) <= 3 * 16
    assert seen.answers["3.0"] > 50


def whole(server, count, without):
    """Whether so many workers are READY and this process is none of them."""
    workers = server.client.describe()["workers"]
    states = [each["status"] for each in workers]
    return states == ["READY"] * count and without not in [each["pid"] for each in workers]


def test_java_killed(running, film):
    os.kill(*running.pids(b"ModelServer"), signal.SIGKILL)
    wait_until(lambda: not answers(running, film))
    seconds = wait_until(lambda: answers(running, film))
    print(f"answers again after {seconds:.1f} s")
    assert "status -9: it is started anew" in running.errors
    assert running.script("manage.py", "ready").returncode == 0
    running.stop()
    assert not running.processes()


def test_workers_that_hang(running, film):
    """TorchServe itself would wait a minute for each batch."""
    for pid in running.pids(WORKER):
        os.kill(pid, signal.SIGSTOP)
    assert running.process.poll() is None
    wait_until(lambda: "it is started anew" in running.errors)
    wait_until(lambda: answers(running, film))
    assert re.search(r"no worker has answered for \d+ s", running.errors)


def test_a_full_queue_is_said_at_once(start, tmp_path, film):
    server = start(tmp_path, TS_JOB_QUEUE_SIZE="2", TS_DEFAULT_WORKERS_PER_MODEL="1")
    server.wait_ready()
    headers = {**server.headers, "Content-Type": "image/png"}

    def ask(_):
        return requests.post(server.url, headers=headers, data=film, timeout=60).status_code

    with ThreadPoolExecutor(64) as callers:
        statuses = list(callers.map(ask, range(256)))
    assert set(statuses) == {200, 503}
    assert answers(server, film)


def test_it_cannot_be_kept_up(start, tmp_path, store):
    """Its archive is damaged while it serves: every new start fails, and it says so and ends."""
    folder = tmp_path / "store"
    folder.mkdir()
    archive = folder / "chest-xray-3.0.mar"
    archive.write_bytes((store / archive.name).read_bytes())
    server = start(tmp_path, TS_MODEL_STORE=str(folder), TS_DEFAULT_WORKERS_PER_MODEL="1")
    server.wait_ready()
    archive.write_bytes(b"no zip")
    os.kill(*server.pids(b"ModelServer"), signal.SIGKILL)
    assert server.process.wait(120) == 1
    assert "to no avail" in server.errors
    assert not server.processes()
