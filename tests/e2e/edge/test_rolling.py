"""A rolling update of two instances, each behind its edge, as a cluster does it."""

import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

import requests

from support.callers import PAUSE_S
from support.edge import start_edge
from support.paths import ROOT
from support.waiting import wait_until


class Balancer:
    """Gives every connection to the next of the instances that are ready, as a Service does."""

    def __init__(self):
        self.ports = []
        self._turns = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                ports = list(self.ports)
                port = ports[next(self._turns) % len(ports)]
                threading.Thread(target=self._serve, args=(caller, port), daemon=True).start()

    def _serve(self, caller, port):
        with caller, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=self._pipe, args=(server, caller))
            back.start()
            self._pipe(caller, server)
            back.join()

    @staticmethod
    def _pipe(source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class Pod:
    """One instance: the service, its edge, and the hooks of its manifest."""

    def __init__(self, start, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.server = start(folder, TS_DEFAULT_WORKERS_PER_MODEL="1")

    def wait_ready(self):
        """As the readiness probe does."""
        self.server.wait_ready()
        self.edge = start_edge(self.server.environment, self.folder)
        ready = f"{self.server.instance.monitor_url}/ready"
        wait_until(lambda: requests.get(ready, timeout=5).ok, 30)

    def end(self):
        """The hook before the end, then the end."""
        time.sleep(1)  # callers that were sent here a moment ago
        drained = self.server.script("manage.py", "drain", "--timeout", "30")
        assert drained.returncode == 0, drained.stderr
        self.edge.stop()
        assert self.server.stop(signal.SIGTERM) == 0


def test_no_request_is_lost(start, tmp_path, film, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_KEYS", str(tmp_path / "keys.json"))  # one for all, as a Secret
    command = [sys.executable, str(ROOT / "scripts" / "keys.py"), "create", "--name", "test"]
    made = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    headers = {"Authorization": f"Bearer {made['key']}", "Content-Type": "image/png"}
    pods = [Pod(start, tmp_path / name) for name in ("a", "b")]
    for pod in pods:
        pod.wait_ready()
    balancer = Balancer()
    balancer.ports = [pod.edge.port for pod in pods]
    answers, stop = Counter(), threading.Event()

    def call():
        while not stop.is_set():
            url = f"{balancer.url}/predictions/chest-xray"
            try:
                answer = requests.post(
                    url, headers={**headers, "Connection": "close"}, data=film, timeout=60
                )
                answers[answer.status_code] += 1
            except requests.RequestException as error:
                answers[type(error).__name__] += 1
            time.sleep(PAUSE_S)

    callers = [threading.Thread(target=call) for _ in range(6)]
    for each in callers:
        each.start()
    try:
        for index, new in enumerate([Pod(start, tmp_path / name) for name in ("a2", "b2")]):
            new.wait_ready()
            balancer.ports = [*balancer.ports, new.edge.port]
            old, pods[index] = pods[index], new
            balancer.ports = [pod.edge.port for pod in pods]
            old.end()
    finally:
        stop.set()
        for each in callers:
            each.join()
        balancer.close()
        for pod in pods:
            pod.edge.stop()
    assert set(answers) == {200}, answers
    assert answers[200] > 100
