"""Commands of the README, run as they stand against a real server."""

import json
import re
import select
import signal
import subprocess
import sys

from chest_xray_ops import archive
from chest_xray_versions import weights_path
from support.documents import blocks, shell_lines
from support.paths import ROOT
from support.processes import free_ports
from support.programs import required

UNTIL_CTRL_C = ("--auto", "edge.py")
"""Commands that go on until then."""


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


def test_script_lines_run_in_order(managed, store, film, tmp_path):
    """Each line with a script, as it stands, against a real server; then all is as it was."""
    required("nginx")
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
