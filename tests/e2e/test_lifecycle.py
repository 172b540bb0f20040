"""Starting, failing and stopping the real server."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from chest_xray.machine import cores
from chest_xray_ops import archive
from chest_xray_ops.torchserve.client import ServerError
from chest_xray_ops.torchserve.server import default_workers
from chest_xray_versions import DEFAULT_VERSION, weights_path
from support.archives import store_with
from support.dicoms import dicom
from support.films import draw_film
from support.paths import ROOT
from support.waiting import wait_until


def assert_gone(server, seconds=10.0):
    deadline = time.monotonic() + seconds
    while (left := server.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == {}


def scratch_of(server):
    """The server's temporary directory, read off Java's command line."""
    for command in server.processes().values():
        for part in command.decode().split("\0"):
            if part.startswith("-Djava.io.tmpdir="):
                return Path(part.partition("=")[2])
    raise AssertionError("no Java process")


@pytest.mark.parametrize(
    ("envelope", "signal_number"), [("kserve", signal.SIGINT), ("json", signal.SIGKILL)]
)
def test_another_instance_beside_the_first_and_its_end(
    start, server, tmp_path, film, envelope, signal_number
):
    """Tokens off and an envelope on, so that this one differs from the shared one."""
    other = start(tmp_path, TS_DISABLE_TOKEN_AUTHORIZATION="true", TS_SERVICE_ENVELOPE=envelope)
    other.wait_ready()
    assert "Authorization" not in other.banner
    body = {"instances": [{"imageUrl": "file:///x"}, {"data": base64.b64encode(film).decode()}]}
    with ThreadPoolExecutor(8) as pool:  # kserve's would lose all but one of a batch
        answers = list(pool.map(lambda _: requests.post(other.url, json=body).json(), range(80)))
    for answer in answers:
        refused, good = answer["predictions"]
        assert refused["code"] == "invalid_url"
        assert "label" in good
    assert requests.get(f"{other.instance.monitor_url}/ready").ok
    assert "label" in other.client.predict(film)
    with pytest.raises(ServerError, match="400"):
        other.client.predict({"imageUrl": "file:///x"})

    assert requests.post(
        server.url, headers={**server.headers, "Content-Type": "image/png"}, data=film
    ).ok
    scratch = scratch_of(other)
    assert scratch.is_dir()

    status = other.stop(signal_number)
    assert status == (0 if signal_number == signal.SIGINT else -signal.SIGKILL)
    assert_gone(other)
    assert not scratch.exists()
    assert server.processes()


def test_killed_while_it_starts(start, tmp_path):
    starting = start(tmp_path)
    wait_until(lambda: starting.pids(b"model_service_worker"))
    starting.stop(signal.SIGKILL)
    assert_gone(starting)


def test_a_broken_model_says_why(start, tmp_path):
    good = archive.build(DEFAULT_VERSION, weights_path(DEFAULT_VERSION), tmp_path)
    weights = b"these are no weights"
    digest = hashlib.sha256(weights).hexdigest().encode()
    entries = {f"{DEFAULT_VERSION}.pt": weights, "weights.sha256": digest}
    broken = start(tmp_path, TS_MODEL_STORE=store_with(good, entries, tmp_path))
    assert broken.process.wait(90) == 1
    text = broken.errors
    assert "in load_network" in text  # the worker's own traceback
    assert "Worker died" not in text
    assert_gone(broken)


def test_a_broken_archive_says_why(start, tmp_path):
    (tmp_path / f"chest-xray-{DEFAULT_VERSION}.mar").write_bytes(b"no zip")
    broken = start(tmp_path, TS_MODEL_STORE=str(tmp_path))
    assert broken.process.wait(90) == 1
    assert f"chest-xray-{DEFAULT_VERSION}.mar is not a usable model archive" in broken.errors


def test_an_envelope_that_is_not_understood_says_so(server):
    environment = {**server.environment, "TS_SERVICE_ENVELOPE": "kservev2"}
    command = [sys.executable, str(ROOT / "scripts" / "serve.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert run.returncode == 1
    assert "TS_SERVICE_ENVELOPE" in run.stderr
    assert "kservev2" in run.stderr


def test_a_port_in_use_says_so(start, server, tmp_path):
    second = start(tmp_path, TS_INFERENCE_ADDRESS=server.instance.inference_url)
    assert second.process.wait(90) == 1
    text = second.errors
    assert "Address already in use" in text
    assert server.script("manage.py", "ready").returncode == 0


def test_the_same_instance_twice(start, server):
    again = start(
        server.instance.directory.parent,
        **{name: server.environment[name] for name in server.environment if name.startswith("TS_")},
    )
    assert again.process.wait(60) == 1
    assert "already runs" in again.errors
    assert server.script("manage.py", "ready").returncode == 0


def test_a_wrong_setting_says_why(start, tmp_path):
    failed = start(tmp_path, CHEST_XRAY_ALLOWED_HOSTS="http://pacs.local/wado")
    assert failed.process.wait(90) == 1
    assert "ALLOWED_HOSTS" in failed.errors
    assert "http://pacs.local/wado" in failed.errors


def test_a_killed_worker_leaves_no_decoder(server):
    """TorchServe kills workers; the process that decodes DICOM for one must go with it."""
    send_dicom(server)
    [worker, *_] = decoders(server).values()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in decoders(server).values())
    server.wait_whole(worker)
    send_dicom(server)


def send_dicom(server):
    headers = {**server.headers, "Content-Type": "application/dicom"}
    assert requests.post(server.url, headers=headers, data=dicom(draw_film(1))).ok


def decoders(server):
    """The processes that decode DICOM, each with its worker."""
    return {
        pid: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        for pid, command in server.processes().items()
        if b"from chest_xray import sandbox" in command
    }


def test_more_workers_than_cores_of_which_as_many_compute_as_there_are_cores(server):
    """While one waits for images, another has the core; see test_slots for the limit itself."""
    workers = [
        pid for pid, command in server.processes().items() if b"model_service_worker" in command
    ]
    assert len(workers) == default_workers()
    assert len(list(scratch_of(server).glob("chest-xray-slot-[0-9]"))) == cores()
