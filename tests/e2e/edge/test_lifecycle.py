"""Starting and stopping the edge, and what it leaves behind."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from support.edge import predict, secret_of
from support.paths import ROOT
from support.waiting import wait_until


def test_logs_hold_nothing_of_a_request(edge, token, authorized, film):
    """Neither key, path, query, address nor header, whatever is sent; but status, key id, time."""
    id = base64.b64decode(token.removeprefix("cxr_")).decode().partition(":")[0]
    path = "/predictions/chest-xray?patient=Marker-7"
    assert edge.ask("POST", path, headers={**authorized, "X-Any": "Marker-7"}, data=film).ok
    edge.ask("POST", "/Marker-7", headers={**authorized, "User-Agent": "Marker-7"})
    nobody = base64.b64encode(f"Marker-7-x:{secret_of(token)}".encode()).decode()
    edge.ask("POST", path, headers={"Authorization": f"Bearer cxr_{nobody}"})
    edge.say(b"Marker-7\r\n\r\n", b"\xff" * 100)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", edge.port)) as plain:
        plain.sendall(b"\x16\x03\x01Marker-7" * 20)  # no TLS handshake
        plain.recv(1000)
    log = edge.instance.logs / "edge.log"
    edge.wait_for(lambda: '"route":"predictions"' in log.read_text())
    for file in (log, edge.output.with_suffix(".stderr"), edge.output.with_suffix(".stdout")):
        text = file.read_text(errors="replace")
        assert not [
            word for word in ("Marker-7", secret_of(token), token, "127.0.0.1 ") if word in text
        ], file
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"status", "route", "key", "seconds"} <= set(lines[-1])
    assert id in {line["key"] for line in lines}

    log.rename(log.with_suffix(".1"))
    edge.process.send_signal(signal.SIGUSR1)
    edge.wait_for(log.exists)


def test_secrets_are_ours_alone(before):
    edge = before()
    _, token = edge.create()
    for file in (edge.configuration, edge.keys.path, edge.callers):
        assert file.stat().st_mode & 0o777 == 0o600
        assert secret_of(token) not in file.read_text()
        assert token not in file.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_end(upstream, before, tmp_path, number):
    """A request in progress has its answer, except after kill -9; nothing goes on running."""
    edge = before()
    _, token = edge.create()
    processes = edge.processes()
    assert len(processes) >= 2
    upstream.answers[:] = [None]
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(predict, edge, token)
        edge.wait_for(lambda: not upstream.answers)
        edge.process.send_signal(number)
        if number == signal.SIGKILL:
            with pytest.raises(requests.ConnectionError):
                waiting.result()
        else:
            upstream.answers[:] = []
            upstream.released.set()  # None was popped: the connection closes, and is repeated
            assert waiting.result().status_code == 200
    assert edge.process.wait(20) == (-number if number == signal.SIGKILL else 0)
    wait_until(lambda: not any(Path(f"/proc/{each}/exe").exists() for each in processes), 10)
    before()  # there may be a next one, which tidies up what a killed one could not
    assert len(list(tmp_path.glob("chest-xray-edge-*"))) == 1


def test_a_second_one_is_refused(before, tmp_path):
    edge = before()
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "edge.py")],
        env=edge.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "already runs" in run.stderr


def test_check_and_render(tmp_path):
    environment = {**os.environ, "CHEST_XRAY_RUN_DIR": str(tmp_path / "run")}

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "edge.py"), *arguments],
            env={**environment, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("--check").returncode == 0
    assert run("--check", "--self-signed").returncode == 0
    missing = {"CHEST_XRAY_EDGE_CERTIFICATE": "/none", "CHEST_XRAY_EDGE_CERTIFICATE_KEY": "/none"}
    wrong = run("--check", **missing)
    assert wrong.returncode == 1
    assert "/none" in wrong.stderr
    out = tmp_path / "out.conf"
    assert run("--render", str(out)).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "{{" not in out.read_text()
