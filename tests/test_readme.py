"""What the README says is what the project does."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from chest_xray.errors import STATUS
from chest_xray_training.metrics import wilson_interval

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("sh"))))
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


@pytest.mark.e2e
def test_shell_examples_run(server, film, tmp_path):
    """Every script line of the README, against a real server."""
    (tmp_path / "film.png").write_bytes(film)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    ran = 0
    for line in lines:
        if not line.startswith(".venv/bin/python scripts/predict.py film.png"):
            continue
        run = subprocess.run(
            line.replace(".venv/bin/python", f"{ROOT}/.venv/bin/python").replace(
                "scripts/", f"{ROOT}/scripts/"
            ),
            shell=True,
            cwd=tmp_path,
            env=server.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(run.stdout)
        [shown] = [json.loads(block) for block in blocks("json") if '"label"' in block]
        assert set(shown) == set(answer) - {"input"}
        ran += 1
    assert ran
