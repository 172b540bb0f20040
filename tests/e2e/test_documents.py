"""Commands of the documents, run as they stand against a real server."""

import io
import json
import re
import select
import signal
import subprocess
import sys

import numpy as np
import pytest
import requests
from PIL import Image

from chest_xray_ops import archive
from chest_xray_versions import weights_path
from support.documents import README, blocks, lines_to_run, text
from support.paths import ROOT
from support.processes import free_ports
from support.programs import required
from support.thorax import illustration

UNTIL_CTRL_C = ("--auto", "chest-xray edge")
"""Commands that go on until then."""
FILM = ROOT / "docs" / "film.png"
ANOTHER_PROCESSOR = 0.02
"""By how much probabilities differ between processors that compute in several precisions."""


def run_line(line, environment, folder):
    """Run a command as a shell would; what goes on until Ctrl-C gets one once it says it is up.

    Returns:
        Its exit status, output and errors.
    """
    variables, command = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(.+)", line).groups()
    if not command.startswith("curl "):
        command = re.sub(
            r"^(\.venv/bin/)?chest-xray ", f"{sys.executable} -m chest_xray_ops ", command
        )
        command = re.sub(r"^sudo python3 scripts/", f"{sys.executable} {ROOT}/scripts/", command)
        assert command.startswith(sys.executable), line
    command = f"exec env {variables}{command}"
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


@pytest.fixture
def folder(tmp_path, store, film):
    """What the commands find where they are run."""
    archive.build("4.1", weights_path("4.0"), store)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "one.png").write_bytes(film)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "model-store").symlink_to(store)
    return tmp_path


def test_commands_run_in_order(managed, folder, web, film):
    """Then all is as it was."""
    required("nginx")
    ports = free_ports(2)
    environment = {
        **managed.environment,
        "CHEST_XRAY_EDGE_LISTEN": f"127.0.0.1:{ports[0]}",
        "URL": managed.instance.inference_url,
        "KEY": managed.instance.key("inference"),
    }
    lines = [line for line in lines_to_run() if not re.search(r"\bmake ", line)]
    assert len(lines) >= 12
    lines.append("chest-xray unregister 4.1")
    for line in lines:
        if "install.py" in line:
            assert line.startswith("sudo ")
            line += f" --root {folder}/root --environment {ROOT}/.venv"
        line = line.replace("127.0.0.1:9443", f"127.0.0.1:{ports[1]}")  # which others may have
        line = line.replace("https://example.org/film.jpg", web.add("/film.jpg", film))
        status, output, errors = run_line(line, environment, folder)
        assert status == 0, (line, errors)
        if "-o overlay.png" in line:
            assert (folder / "overlay.png").read_bytes().startswith(b"\x89PNG")
        elif "curl" in line:
            assert "label" in json.loads(output), (line, output)
    assert list(managed.table()) == ["4.0"]


def test_python_runs_outside_of_a_clone(folder):
    """The classifier with no server, as docs/design.md shows it."""
    [program] = blocks("python", text("design.md"))
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert "Prediction(label=" in run.stdout, run.stderr


@pytest.mark.parametrize("document", [README, text("api.md")])
def test_the_answer_that_is_shown_is_what_comes_back(server, document):
    [shown] = [json.loads(block) for block in blocks("json", document)]
    shown.pop("input", None)
    found = server.client.predict(FILM.read_bytes())
    assert list(shown) == list(found)
    assert shown["label"] == found["label"]
    assert shown["model_version"] == found["model_version"]
    for label, share in found["probabilities"].items():
        assert shown["probabilities"][label] == pytest.approx(share, abs=ANOTHER_PROCESSOR)


def test_the_heat_map_that_is_shown_is_what_comes_back(server, tmp_path):
    answer = requests.post(
        server.url.replace("predictions", "explanations"),
        headers={**server.headers, "Accept": "image/png", "Content-Type": "image/png"},
        data=FILM.read_bytes(),
    )
    drawn = tmp_path / "heatmap.png"
    drawn.write_bytes(illustration(FILM.read_bytes(), answer.content))
    committed = ROOT / "docs" / "heatmap.png"
    shown, found = (
        np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"), dtype=float)
        for path in (committed, drawn)
    )
    assert shown.shape == found.shape, f"copy {drawn} to {committed}"
    assert abs(shown - found).mean() < 3, f"copy {drawn} to {committed}"
