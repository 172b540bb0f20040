"""Making the environment: what is installed where, what is said, and the way back."""

import subprocess
from types import SimpleNamespace

import pytest

from chest_xray_ops.deployment import environment
from chest_xray_ops.failure import Failure

PIP = """\
Looking in links: /wheels
WARNING: Location '/wheels' is ignored
Ignoring tomli: markers 'python_full_version < "3.11"' don't match your environment
Collecting torch==2.12.1 (from -r requirements.txt (line 1))
  Downloading torch-2.12.1-cp311-cp311-manylinux_2_28_x86_64.whl (532.2 MB)
Processing /wheels/idna-3.20-py3-none-any.whl (from -r requirements.txt (line 2))
Installing collected packages: torch, idna
Successfully installed idna-3.20 torch-2.12.1
"""


@pytest.fixture
def lists(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("torch==2.12.1\nidna==3.20\ntomli==2 ; python_full_version < '3.11'\n")
    (tmp_path / environment.CUDA).write_text("nvidia-cublas==13\n")
    return path


def pip_that(prints, status, tmp_path):
    """A Python whose pip prints this."""
    (tmp_path / "printed").write_text(prints)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat {tmp_path}/printed\nexit {status}\n")
    python.chmod(0o755)
    return python


def test_it_says_how_far_it_is(lists, tmp_path, capsys):
    environment.install(pip_that(PIP, 0, tmp_path), lists)
    said = [line.rpartition(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["[1/2] torch 532.2 MB", "[2/2] idna", "unpacking 2 packages"]


def test_what_pip_complains_of_is_told(lists, tmp_path):
    prints = PIP + "ERROR: No space left on device\n"
    with pytest.raises(Failure, match="No space left"):
        environment.install(pip_that(prints, 1, tmp_path), lists)


@pytest.mark.parametrize(
    ("device", "gpu", "small"),
    [("cpu", True, True), ("gpu", False, False), ("auto", False, True), ("auto", True, False)],
)
@pytest.mark.parametrize("works", [True, False])
def test_cuda_is_installed_where_it_is_needed(
    device, gpu, small, works, lists, tmp_path, monkeypatch
):
    installed, removed = [], []
    (tmp_path / "venv/lib/python3.11/site-packages").mkdir(parents=True)
    monkeypatch.setattr(environment, "_can_leave_cuda_out", lambda: True)
    monkeypatch.setattr(environment, "has_gpu", lambda: gpu)
    monkeypatch.setattr(environment, "install", lambda python, *paths: installed.extend(paths))
    monkeypatch.setattr(environment.no_cuda, "write", lambda packages: ["libcudart.so.13"])
    monkeypatch.setattr(environment.no_cuda, "remove", lambda _, names: removed.extend(names))
    done = SimpleNamespace(returncode=0 if works else 1)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)
    environment.make(tmp_path / "venv", lists, device)
    complete = [lists, lists.with_name(environment.CUDA)]
    assert installed == ([lists] if small and works else complete)
    assert removed == (["libcudart.so.13"] if small and not works else [])
