"""What the README says is what the project does."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys

import pytest

from chest_xray.errors import STATUS
from chest_xray_ops import archive
from chest_xray_training.metrics import wilson_interval
from chest_xray_versions import weights_path
from support.paths import ROOT
from support.processes import free_ports

README = (ROOT / "README.md").read_text(encoding="utf-8")


NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
UNTIL_CTRL_C = ("--auto", "edge.py")
"""Commands that go on until then."""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_lines():
    return [line for block in blocks("sh") for line in block.splitlines()]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(shell_lines())))
    assert {"serve", "test"} <= named <= targets


def test_ci_calls_the_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_error_code_is_listed():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", README, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {
        code: status.value for code, status in STATUS.items()
    }


def test_intervals_follow_from_the_counts():
    rows = re.findall(r"([\d.]+) % \((\d+)/(\d+); ([\d.]+) to ([\d.]+)\)", README)
    assert rows
    for share, right, count, low, high in rows:
        right, count = int(right), int(count)
        assert float(share) == pytest.approx(100 * right / count, abs=0.05)
        bounds = [round(100 * bound, 1) for bound in wilson_interval(right, count)]
        assert [float(low), float(high)] == bounds


def test_make_lines_are_understood():
    lines = [line for line in shell_lines() if re.search(r"\bmake ", line)]
    assert len(lines) > 5
    for line in lines:
        subprocess.run(
            line.replace("make ", "make --dry-run "),
            shell=True,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )


def run_line(line, environment, folder):
    """Run a command as a shell would; what goes on until Ctrl-C gets one once it says it is up.

    Returns:
        Its exit status, output and errors.
    """
    command = re.sub(
        r"^((?:[A-Z_]+=\S+ )*)\S*python3? scripts/",
        rf"exec env \1{sys.executable} {ROOT}/scripts/",
        line.removeprefix("sudo "),
    )
    assert command.startswith("exec "), line
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        if any(name in line for name in UNTIL_CTRL_C):
            assert select.select([process.stdout, process.stderr], [], [], 60)[0], line
            process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.mark.e2e
def test_script_lines_run_in_order(managed, store, film, tmp_path):
    """Each line with a script, as it stands, against a real server; then all is as it was."""
    archive.build("3.1", weights_path("3.0"), store)
    (tmp_path / "film.png").write_bytes(film)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "one.png").write_bytes(film)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "model-store").symlink_to(store)
    ports = free_ports(2)
    environment = {**managed.environment, "CHEST_XRAY_EDGE_LISTEN": f"127.0.0.1:{ports[0]}"}
    lines = [line for line in shell_lines() if "scripts/" in line]
    assert len(lines) >= 6
    lines.append(".venv/bin/python scripts/manage.py unregister 3.1")
    for line in lines:
        if "edge.py" in line and not NGINX:
            continue
        if "install.py" in line:
            assert line.startswith("sudo ")
            line += f" --root {tmp_path}/root --environment {ROOT}/.venv"
        line = line.replace("127.0.0.1:9443", f"127.0.0.1:{ports[1]}")  # which others may have
        status, output, errors = run_line(line, environment, tmp_path)
        assert status == 0, (line, errors)
        if "predict.py" in line:
            [shown] = [json.loads(block) for block in blocks("json") if '"label"' in block]
            assert set(shown) == set(json.loads(output))
    assert list(managed.table()) == ["3.0"]
