"""Locks that tell who is at work."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from chest_xray.worker.activity import Activity
from chest_xray.worker.contract import is_busy

WORKER = """
import sys, time
from chest_xray.worker.activity import Activity
with Activity("3.0").hold():
    print("at work", flush=True)
    time.sleep(60)
"""


def test_any_worker_at_work_makes_its_version_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert not is_busy(tmp_path, "3.0")
    first, second, other = Activity("3.0"), Activity("3.0"), Activity("3.1")
    with first.hold(), second.hold():
        assert is_busy(tmp_path, "3.0")
        assert not is_busy(tmp_path, "3.1")
    assert not is_busy(tmp_path, "3.0")
    with other.hold():
        assert not is_busy(tmp_path, "3.0")


def test_a_killed_worker_is_at_work_no_more(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", WORKER]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline()
        assert is_busy(tmp_path, "3.0")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert not is_busy(tmp_path, "3.0")


def test_what_cannot_be_seen_is_not_called_idle(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_busy(tmp_path / "elsewhere", "3.0")
