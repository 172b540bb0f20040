"""Units of systemd: understood, hardened, and naming what there is."""

import re
import shutil
import subprocess

import pytest

from chest_xray_ops.cli import GROUPS
from support.paths import ROOT

UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


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
        [verb] = re.findall(r"^ExecStart=\S+/chest-xray (\S+)$", unit.read_text(), re.MULTILINE)
        assert any(verb in group.verbs for group in GROUPS)
    for path in re.findall(r"/(\w+)\.log", (ROOT / "config/systemd/logrotate").read_text()):
        assert path in ("access", "audit", "edge")
