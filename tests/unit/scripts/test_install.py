"""The installer, below a folder of its own, and the units of systemd."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.films import draw_film, encode
from support.paths import ROOT
from support.server import start_server

INSTALL = ROOT / "scripts" / "install.py"
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def install(source, *arguments):
    run = subprocess.run(
        [sys.executable, str(source / "scripts" / "install.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, json.loads(run.stdout) if run.stdout else {}, run.stderr


def tree(folder):
    """Every file and link below a folder, with what tells whether it was touched."""
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in folder.rglob("*")
        if ".venv" not in path.parts or path.name == ".venv"
    }


@pytest.fixture
def source(tmp_path):
    """A copy of what a release is made of, to be changed."""
    folder = tmp_path / "source"
    for part in ("config", "handler", "model", "scripts"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "protocols")
        )
    shutil.copy(ROOT / "requirements.txt", folder)
    return folder


def test_install_again_upgrade_rollback_uninstall(source, tmp_path):
    root = tmp_path / "root"
    how = ("--root", root, "--environment", ROOT / ".venv")
    status, first, said = install(source, "install", *how, "--dry-run")
    assert (status, first["running"]) == (0, None)
    assert "would: " in said
    assert not root.exists()

    status, first, said = install(source, "install", *how)
    assert status == 0, said
    assert first["releases"] == [first["running"]]
    store = root / "opt/chest-xray/current/build/model-store"
    assert [path.name for path in store.iterdir()] == ["chest-xray-3.0.mar"]
    state = root / "var/lib/chest-xray/keys.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    assert (root / "etc/systemd/system/chest-xray.service").exists()
    before = tree(root)
    assert install(source, "install", *how) == (0, first, "")
    assert tree(root) == before

    settings = root / "etc/chest-xray/environment"
    settings.write_text("CHEST_XRAY_AUDIT=true\n")
    with (source / "handler" / "chest_xray" / "labels.py").open("a") as file:
        file.write("# a new release\n")
    status, second, said = install(source, "install", *how)
    assert status == 0, said
    assert (second["before"], len(second["releases"])) == (first["running"], 2)
    assert settings.read_text() == "CHEST_XRAY_AUDIT=true\n"
    current = root / "opt/chest-xray/current"
    assert "a new release" in (current / "handler/chest_xray/labels.py").read_text()

    status, back, said = install(source, "rollback", "--root", root)
    assert (status, back["running"]) == (0, first["running"]), said
    assert "a new release" not in (current / "handler/chest_xray/labels.py").read_text()

    assert install(source, "uninstall", "--root", root)[0] == 0
    assert settings.exists()
    assert state.exists()
    assert not current.exists()
    assert install(source, "uninstall", "--root", root, "--purge")[0] == 0
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_what_cannot_be_done(tmp_path):
    assert install(ROOT, "rollback", "--root", tmp_path)[0] == 1
    assert install(ROOT, "promote")[0] == 2
    if os.geteuid():
        assert install(ROOT, "install")[0] == 1


@pytest.mark.e2e
def test_the_installed_tree_serves(tmp_path):
    """By the unit's own command and variables."""
    root = tmp_path / "root"
    status, _, said = install(ROOT, "install", "--root", root, "--environment", ROOT / ".venv")
    assert status == 0, said
    unit = (root / "etc/systemd/system/chest-xray.service").read_text()
    [command] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    assert len(variables.pop("TMPDIR")) < 40  # sockets lie there; here it would be too long
    variables = {
        name: value.replace("/var/lib", f"{root}/var/lib") for name, value in variables.items()
    }
    script = Path(command.split()[1].replace("/opt", f"{root}/opt"))
    for step in re.findall(r"^ExecStartPre=\S+/(cp .*)$", unit, re.MULTILINE):
        below = step.replace("/opt", f"{root}/opt").replace("/var/lib", f"{root}/var/lib")
        store = root / "var/lib/chest-xray/model-store"
        store.mkdir(parents=True)  # systemd makes it
        subprocess.run(below.split(), check=True)
    running = start_server(
        Path(variables.pop("CHEST_XRAY_RUN_DIR")),
        script,
        TS_DEFAULT_WORKERS_PER_MODEL="1",
        CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION="true",
        PYTHONPATH=os.pathsep.join(
            str(root / "opt/chest-xray/current" / part) for part in ("handler", "model")
        ),
        **variables,
    )
    try:
        running.wait_ready()
        assert running.client.predict(encode(draw_film(1), "PNG"))["label"]
        assert str(root) in str(running.instance.model_store)
        assert running.script("manage.py", "drain").returncode == 0
    finally:
        running.stop()


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_understood_and_hardened(unit, tmp_path):
    copy = tmp_path / unit.name
    text = unit.read_text()
    # What is to be run is not installed here.
    copy.write_text(re.sub(r"^ExecStart=\S+ \S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    verify = ["systemd-analyze", "verify", "--recursive-errors=no", str(copy)]
    run = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    rate = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(unit)]
    run = subprocess.run(rate, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout.splitlines()[-1]


def test_units_name_what_there_is():
    for unit in UNITS:
        for script in re.findall(r"current/(\S+\.py)", unit.read_text()):
            assert (ROOT / script).is_file()
    for path in re.findall(r"/(\w+)\.log", (ROOT / "config/systemd/logrotate").read_text()):
        assert path in ("access", "audit", "edge")
