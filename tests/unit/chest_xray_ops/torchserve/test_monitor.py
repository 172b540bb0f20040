"""Counts of many workers on one page, and the state of the service."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from chest_xray.errors import STATUS
from chest_xray.machine import memory_limit
from chest_xray.worker.metrics import STAGES
from chest_xray_ops.torchserve.monitor import Monitor, Snapshot
from support.processes import die_with_parent, free_ports

HEALTHY = Snapshot(
    ready=True,
    live=True,
    restarts=2,
    default="3.0",
    workers={("3.0", "READY"): 2, ("3.0", "UNLOADING"): 1},
    wanted={"3.0": 3},
    queued={"3.0": 7},
    memory={"frontend": 100, "workers": 200},
)

WORKER = """
import sys
from chest_xray.worker.metrics import Metrics
metrics = Metrics("3.0", ("normal", "pneumonia", "covid-19"))
for _ in range(int(sys.argv[1])):
    metrics.answered(200, "normal", 0.72, None)
    metrics.stage("decode", 0.003)
print("counted", flush=True)
sys.stdin.read()
"""


def samples(text):
    """Name and label values, in the order of the labels' names -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def work(tmp_path):
    """Starts a worker that has counted so many answers, and waits to be killed."""
    started = []

    def start(count, limit=None):
        def before():
            die_with_parent()
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(count)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=before,
        )
        started.append(process)
        assert process.stdout.readline()
        return process

    yield start
    for process in started:
        kill(process)
        process.stdin.close()
        process.stdout.close()


def kill(process):
    process.kill()
    process.wait()


class Watched:
    """A monitor and the service it speaks of."""

    def __init__(self, counts):
        self.now = HEALTHY
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self.url = f"http://{address}"
        self.monitor = Monitor(address, counts, self.snapshot, lambda: self.now)

    def snapshot(self):
        if self.now is None:
            raise RuntimeError("the server is away")
        return self.now

    def get(self, path):
        return requests.get(self.url + path, timeout=10)

    def samples(self):
        answer = self.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return samples(answer.text)

    def answered(self):
        return self.samples()["chest_xray_requests_total", "200", "3.0"]


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path)
    watched.monitor.start()
    yield watched
    watched.monitor.stop()


def test_every_series_is_there_before_its_first_event(work, watched):
    work(0)
    found = watched.samples()
    for code, status in STATUS.items():
        assert found["chest_xray_refused_total", code, "3.0"] == 0
        assert found["chest_xray_requests_total", str(status.value), "3.0"] == 0
    for stage in STAGES:
        assert found["chest_xray_stage_seconds_count", stage] == 0


def test_workers_are_added_up(work, watched):
    work(3)
    work(4)
    found = watched.samples()
    assert found["chest_xray_requests_total", "200", "3.0"] == 7
    assert found["chest_xray_predictions_total", "normal", "3.0"] == 7
    assert found["chest_xray_probability_count", "normal"] == 7
    assert found["chest_xray_probability_sum", "normal"] == pytest.approx(7 * 0.72)
    buckets = {
        le: found["chest_xray_probability_bucket", "normal", le] for le in ("0.7", "0.75", "+Inf")
    }
    assert buckets == {"0.7": 0, "0.75": 7, "+Inf": 7}
    assert found["chest_xray_stage_seconds_bucket", "0.005", "decode"] == 7


def test_the_state_of_the_service(watched):
    found = watched.samples()
    assert found["chest_xray_workers", "READY", "3.0"] == 2
    assert found["chest_xray_workers", "UNLOADING", "3.0"] == 1
    assert found["chest_xray_workers_wanted", "3.0"] == 3
    assert found["chest_xray_queued_requests", "3.0"] == 7
    assert found["chest_xray_default_version", "3.0"] == 1
    assert found["chest_xray_memory_bytes", "workers"] == 200
    assert found[("chest_xray_memory_limit_bytes",)] == memory_limit() > 10**8
    assert found[("chest_xray_ready",)] == 1
    assert found[("chest_xray_server_restarts_total",)] == 2


def test_ready_and_live(watched):
    for ready, live in ((True, True), (False, True), (False, False)):
        watched.now = Snapshot(ready=ready, live=live)
        for path, good in (("ready", ready), ("live", live)):
            answer = watched.get(f"/{path}?verbose")
            assert (answer.status_code, answer.json()) == (200 if good else 503, {path: good})
    assert watched.get("/").status_code == 404
    assert watched.get("/metrics/").status_code == 404


def test_a_scrape_that_fails_harms_nobody(watched, capfd):
    watched.now = None
    answer = watched.get("/metrics")
    assert (answer.status_code, answer.text) == (500, "RuntimeError: the server is away\n")
    assert watched.get("/ready").status_code == 500
    watched.now = HEALTHY
    assert watched.get("/metrics").status_code == 200
    assert capfd.readouterr() == ("", "")


def test_killed_workers_go_on_counting_in_the_sum(work, watched, tmp_path):
    kill(work(5))
    assert watched.answered() == 5
    work(2)
    assert watched.answered() == 7
    assert watched.answered() == 7


def test_a_thousand_restarts_leave_no_files(work, watched, tmp_path):
    kill(work(1))
    for path in list(tmp_path.glob("*.db")):
        for number in range(999):  # no process has such a number
            shutil.copy(path, path.with_name(f"{path.name.split('_')[0]}_{10**8 + number}.db"))
    assert watched.answered() == 1000
    assert not list(tmp_path.iterdir())
    assert watched.answered() == 1000


@pytest.mark.parametrize("size", [0, 3, 100, 1000, 2000, 4097])
def test_a_file_that_is_cut_off(work, watched, tmp_path, size):
    work(2)
    process = work(5)
    kill(process)
    for path in tmp_path.glob(f"*_{process.pid}.db"):
        os.truncate(path, size)
    assert 2 <= watched.answered() <= 7
    found = watched.samples()
    for stage in STAGES:
        bounds = [
            value
            for key, value in found.items()
            if key[0] == "chest_xray_stage_seconds_bucket" and stage in key
        ]
        assert bounds == sorted(bounds)


def test_a_file_of_something_else(work, watched, tmp_path):
    (tmp_path / f"counter_{10**8}.db").write_bytes(os.urandom(5000))
    (tmp_path / "counter_x.db").write_bytes(b"?")
    work(2)
    assert watched.answered() == 2


def test_a_full_disk_ends_no_worker(work, watched, tmp_path):
    process = work(3, limit=1000)  # bytes that it may write to a file
    assert process.poll() is None
    assert not list(tmp_path.iterdir())
    work(2)
    assert watched.answered() == 2
