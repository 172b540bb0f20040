"""Workers that come and go while callers are answered."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from support.archives import entry, store_with
from support.films import draw_film, encode
from support.paths import ROOT

SLOW = b"""
_classify = Classifier.classify

def _slow(self, requests):
    time.sleep(0.2)
    return _classify(self, requests)

Classifier.classify = _slow
"""


def test_everybody_gets_the_answer_to_their_own_image(start, tmp_path, store):
    """All workers have work all the time. TorchServe itself answers such requests with 500, and a
    second time, which callers take for the answer to their next image."""
    good = store / "chest-xray-4.0.mar"
    code = entry(good, "chest_xray_handler.py") + SLOW
    changed = store_with(good, {"chest_xray_handler.py": code}, tmp_path)
    server = start(tmp_path, TS_MODEL_STORE=changed)
    server.wait_ready()
    films = [encode(draw_film(seed), "PNG") for seed in range(5)]
    headers = {**server.headers, "Content-Type": "image/png"}

    def ask(session, film):
        answer = session.post(server.url, headers=headers, data=film, timeout=30)
        return answer.status_code, answer.json().get("probabilities")

    expected = [ask(requests, film) for film in films]
    assert len({str(each) for each in expected}) == len(films)
    done = threading.Event()

    def call(first):
        count = 0
        with requests.Session() as session:
            while not done.is_set():
                index = (first + count) % len(films)
                status, found = ask(session, films[index])
                assert status == 200
                assert found == pytest.approx(expected[index][1], abs=0.01)
                count += 1
        return count

    before = [worker["pid"] for worker in server.client.describe()["workers"]]
    with ThreadPoolExecutor(8) as callers:
        counts = callers.map(call, range(8))
        try:
            for workers in (1, 2, 1):
                run = server.script("manage.py", "scale", str(workers))
                assert (run.returncode, run.stderr) == (0, "")
        finally:
            done.set()
        assert min(counts) > 5
    assert [worker["pid"] for worker in server.client.describe()["workers"]] == before[:1]


def test_it_follows_the_load_until_interrupted(managed):
    """Here what it was told of bounds, which needs no load and no calm."""
    command = [sys.executable, str(ROOT / "scripts" / "manage.py"), "scale", "--auto"]
    bounds = ["--min", "1", "--max", "1"]
    with subprocess.Popen(
        [*command, *bounds], env=managed.environment, stderr=subprocess.PIPE, text=True
    ) as follower:
        said = iter(follower.stderr.readline, "")
        assert any("-> 1 workers" in line for line in said)
        managed.client.wait_ready(1)
        follower.send_signal(signal.SIGINT)
        assert not [line for line in said if "500" in line or "no answer" in line]
    assert follower.returncode == 0
