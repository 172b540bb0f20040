"""What callers see when something breaks, and that the service comes back by itself."""

import json
import os
import random
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from chest_xray.archive import Archive
from chest_xray.worker.contract import ACCESS_LOG
from chest_xray_ops.torchserve.state import Entry, State
from chest_xray_ops.torchserve.supervisor import Supervisor
from support.archives import entry, store_with
from support.callers import calling
from support.paths import ROOT
from support.waiting import wait_until

WORKER = b"model_service_worker"


def answers(server, film):
    headers = {**server.headers, "Content-Type": "image/png"}
    try:
        return requests.post(server.url, headers=headers, data=film, timeout=30).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def running(start_for_all, tmp_path_factory):
    """A server that comes back from one test for the next."""
    server = start_for_all(tmp_path_factory.mktemp("faults"), CHEST_XRAY_PATIENCE_S="3")
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
            restarts.append(wait_until(partial(running.is_whole, victim)))
    print(f"full capacity after {[round(each, 1) for each in restarts]} s; {dict(seen.answers)}")
    assert max(restarts) < 10
    assert set(seen.failures) <= {"status 500", "status 507"}
    assert sum(seen.failures.values()) <= 3 * 16
    assert seen.answers["4.0"] > 50


ADOPTING = f"""
import ctypes, runpy, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans are given to it, as to process 1
sys.path.insert(0, {str(ROOT / "scripts")!r})
runpy.run_path({str(ROOT / "scripts" / "serve.py")!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def collecting(start_for_all, tmp_path_factory, store):
    """A server that collects each batch for half a second, run as in a container."""
    folder = tmp_path_factory.mktemp("collecting")
    good = store / "chest-xray-4.0.mar"
    config = entry(good, "model-config.yaml")
    patient = config.replace(b"maxBatchDelay: 1 ", b"maxBatchDelay: 500 ")
    assert patient != config
    changed = store_with(good, {"model-config.yaml": patient}, folder)
    script = folder / "serve.py"
    script.write_text(ADOPTING)
    serve = [sys.executable, str(script)]
    server = start_for_all(folder, serve, TS_MODEL_STORE=changed, TS_DEFAULT_WORKERS_PER_MODEL="1")
    server.wait_ready()
    return server


def test_killed_while_a_batch_is_collected(collecting, film):
    """TorchServe itself would never answer it."""
    headers = {**collecting.headers, "Content-Type": "image/png"}
    status = 200
    while status == 200:  # a busy machine may be late to kill
        assert answers(collecting, film)
        with ThreadPoolExecutor(1) as caller:
            asked = caller.submit(
                requests.post, collecting.url, headers=headers, data=film, timeout=30
            )
            time.sleep(0.2)
            os.kill(*collecting.pids(WORKER), signal.SIGKILL)
            status = asked.result().status_code
        wait_until(lambda: answers(collecting, film))
    assert status in (500, 507)


def ended_children(parent):
    """Those that nobody has asked for their status."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, its_parent = path.read_text().rsplit(")", 1)[1].split()[:2]
            count += state == "Z" and int(its_parent) == parent
    return count


def test_what_a_killed_worker_leaves_in_a_container(collecting, film):
    """Processes that it had started come to process 1, which is ours."""
    os.kill(*collecting.pids(WORKER), signal.SIGKILL)
    wait_until(lambda: answers(collecting, film))
    wait_until(lambda: not ended_children(collecting.process.pid))
    wait_until(lambda: len(collecting.pids(b"connection_keeper.py")) == 1)


def test_workers_that_hang(running, film):
    """TorchServe itself would wait a minute for each batch."""
    for pid in running.pids(WORKER):
        os.kill(pid, signal.SIGSTOP)
    assert running.process.poll() is None
    wait_until(lambda: "; restarting" in running.errors)
    wait_until(lambda: answers(running, film))
    assert re.search(r"no worker has answered for \d+ s", running.errors)


def test_java_killed(running, film):
    wait_until(lambda: requests.get(f"{running.instance.monitor_url}/ready", timeout=5).ok)
    os.kill(*running.pids(b"ModelServer"), signal.SIGKILL)
    wait_until(lambda: not answers(running, film))
    seconds = wait_until(lambda: answers(running, film))
    print(f"answers again after {seconds:.1f} s")
    assert "status -9; restarting" in running.errors
    assert running.script("manage.py", "ready").returncode == 0
    running.stop()
    assert not running.processes()


NO_MEMORY = b"""
from pathlib import Path
_initialize, _answer = ChestXrayHandler.initialize, ChestXrayHandler.handle

def _fresh(self, context):
    _initialize(self, context)
    Path(FLAG).unlink(missing_ok=True)  # as a new start frees memory

def _forgetful(self, data, context):
    if Path(FLAG).exists():
        raise MemoryError
    return _answer(self, data, context)

ChestXrayHandler.initialize, ChestXrayHandler.handle = _fresh, _forgetful
"""


def test_workers_that_have_no_memory(start, tmp_path, store, film):
    """They are READY and answer 507, as after an error of CUDA; TorchServe leaves it at that."""
    good = store / "chest-xray-4.0.mar"
    flag = tmp_path / "no-memory"
    code = entry(good, "chest_xray_handler.py")
    code += NO_MEMORY.replace(b"FLAG", repr(str(flag)).encode())
    changed = store_with(good, {"chest_xray_handler.py": code}, tmp_path)
    server = start(tmp_path, TS_MODEL_STORE=changed, CHEST_XRAY_PATIENCE_S="2")
    server.wait_ready()
    assert answers(server, film)
    flag.touch()
    assert requests.post(server.url, headers=server.headers, data=film).status_code == 507
    seconds = wait_until(lambda: answers(server, film))
    print(f"answers again after {seconds:.1f} s")
    assert "no worker has answered" in server.errors


SICK = b"""
from pathlib import Path
_readings = Classifier.readings

def _sick(self, pixels):
    if str(os.getpid()) == Path(FLAG).read_text():
        raise RuntimeError("CUDA error: %d" % 700)
    return _readings(self, pixels)

Classifier.readings = _sick
"""


def test_a_worker_that_lost_its_gpu(start, tmp_path, store, film):
    """It ends itself, since TorchServe would go on giving it batches; the other one answers."""
    good = store / "chest-xray-4.0.mar"
    flag = tmp_path / "sick"
    flag.write_text("")
    code = entry(good, "chest_xray_handler.py") + SICK.replace(b"FLAG", repr(str(flag)).encode())
    changed = store_with(good, {"chest_xray_handler.py": code}, tmp_path)
    server = start(tmp_path, TS_MODEL_STORE=changed)
    server.wait_ready()
    with calling(server, film) as seen:
        victim = server.pids(WORKER)[0]
        flag.write_text(str(victim))
        seconds = wait_until(partial(server.is_whole, victim))
    print(f"full capacity after {seconds:.1f} s; {dict(seen.answers)}, {dict(seen.failures)}")
    assert set(seen.failures) == {"status 503", "status 500"}
    assert sum(seen.failures.values()) <= 3 * 16
    assert seen.answers["4.0"] > 10
    assert not server.errors
    log = (server.instance.logs / "workers.log").read_text()
    assert "RuntimeError, 2 in succession" in log
    assert "CUDA error: 700" not in log  # nor any other message
    lines = (server.instance.logs / ACCESS_LOG).read_text().splitlines()
    codes = [json.loads(line).get("code") for line in lines]
    assert 0 < codes.count("inference_failed") < len(codes) / 2


def test_a_clock_that_jumps(tmp_path, store):
    """Neither way does it make a silent server look alive, or a live one silent."""
    file = tmp_path / "chest-xray-busy-4.0"
    instance = SimpleNamespace(model_store=store, directory=tmp_path / "run", scratch=tmp_path)
    plan = State("4.0", (Entry("4.0", "chest-xray-4.0.mar", 1),))
    archive = Archive.open(store / "chest-xray-4.0.mar")
    supervisor = Supervisor(SimpleNamespace(instance=instance), plan, archive)
    assert supervisor._silent_s() > 1
    for moved in (-86_400, 86_400):
        file.touch()
        assert supervisor._silent_s() < 0.5
        os.utime(file, (time.time() + moved,) * 2)
        assert supervisor._silent_s() < 0.5  # answered once more, as far as it can tell
        time.sleep(0.3)
        assert supervisor._silent_s() >= 0.3


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
    archive = folder / "chest-xray-4.0.mar"
    archive.write_bytes((store / archive.name).read_bytes())
    server = start(tmp_path, TS_MODEL_STORE=str(folder), TS_DEFAULT_WORKERS_PER_MODEL="1")
    server.wait_ready()
    archive.write_bytes(b"no zip")
    os.kill(*server.pids(b"ModelServer"), signal.SIGKILL)
    assert server.process.wait(120) == 1
    assert "gave up after 3 restarts" in server.errors
    assert not server.processes()
