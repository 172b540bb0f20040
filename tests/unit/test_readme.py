"""What the README says is what the project does."""

import re
import subprocess

import pytest

from chest_xray.errors import STATUS
from chest_xray_training.metrics import wilson_interval
from support.documents import README, shell_lines
from support.paths import ROOT


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
