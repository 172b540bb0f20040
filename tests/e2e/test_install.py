"""What was installed serves."""

import re
import subprocess
from pathlib import Path

from support.films import draw_film, encode
from support.installer import install
from support.paths import ROOT
from support.server import start_server


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
    program = command.replace("/opt", f"{root}/opt").split()
    for step in re.findall(r"^ExecStartPre=\S+/(cp .*)$", unit, re.MULTILINE):
        below = step.replace("/opt", f"{root}/opt").replace("/var/lib", f"{root}/var/lib")
        store = root / "var/lib/chest-xray/model-store"
        store.mkdir(parents=True)  # systemd makes it
        subprocess.run(below.split(), check=True)
    running = start_server(
        Path(variables.pop("CHEST_XRAY_RUN_DIR")),
        program,
        TS_DEFAULT_WORKERS_PER_MODEL="1",
        CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION="true",
        **variables,
    )
    try:
        running.wait_ready()
        assert running.client.predict(encode(draw_film(1), "PNG"))["label"]
        assert str(root) in str(running.instance.model_store)
        assert running.script("manage.py", "drain").returncode == 0
    finally:
        running.stop()
