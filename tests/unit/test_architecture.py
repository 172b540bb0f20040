"""The rules that keep the house in order: who imports whom, and how long a file may be."""

import pytest

from support.imports import EXCEPTIONS, read_tree, violations
from support.paths import ROOT

LINES = 300
LONGER: dict[str, str] = {}
"""Tables of data that may have more lines, and why."""


@pytest.fixture(scope="module")
def tree():
    return read_tree(ROOT)


def test_imports_follow_the_rules(tree):
    assert violations(tree) == []


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_every_exception_is_needed(tree, exception):
    assert violations(tree, set(EXCEPTIONS) - {exception}) != []


@pytest.mark.parametrize(
    ("path", "statement", "reason"),
    [("handler/chest_xray/image.py", "import ts", "TorchServe"),
     ("handler/chest_xray/worker/metrics.py", "from ts.utils import util", "TorchServe"),
     ("handler/chest_xray_handler.py", "from ts import context", "TorchServe"),
     ("handler/chest_xray/batch.py", "import chest_xray_versions", "neither training nor tools"),
     ("handler/chest_xray/network/gate.py", "from chest_xray_training import loop",
      "neither training nor tools"),
     ("handler/chest_xray/settings.py", "from chest_xray_ops import cli",
      "neither training nor tools"),
     ("handler/chest_xray/prediction.py", "from chest_xray.worker.metrics import Metrics",
      "nothing of workers"),
     ("handler/chest_xray/network/gate.py", "from ..worker import core_slots",
      "nothing of workers"),
     ("handler/chest_xray/classifier.py", "from chest_xray.worker import activity",
      "nothing of workers"),
     ("model/chest_xray_training/loop.py", "def f():\n    from chest_xray_ops import archive",
      "nothing of the tools"),
     ("scripts/chest_xray_ops/torchserve/client.py", "import chest_xray.image",
      "only what the service shares"),
     ("scripts/chest_xray_ops/versions/rollout.py", "from chest_xray.classifier import Classifier",
      "only what the service shares"),
     ("scripts/chest_xray_ops/archive.py", "from chest_xray.worker import metrics",
      "only what the service shares"),
     ("scripts/chest_xray_ops/torchserve/client.py", "import serve", "never imported"),
     ("scripts/benchmark_peers/work.py", "from predict import main", "never imported"),
     ("scripts/serve.py", "import manage", "never imported"),
     ("handler/chest_xray/errors.py", "from chest_xray import response", "circle")],
)  # fmt: skip
def test_an_offending_import_is_found(tree, path, statement, reason):
    found = violations({**tree, path: f"{tree[path]}\n{statement}\n"})
    assert any(reason in line for line in found), found
    if reason != "circle":
        assert any(line.startswith(f"{path}:") for line in found)


def test_commands_are_started_by_their_entries_alone():
    files = {
        "scripts/chest_xray_ops/__init__.py": "",
        "scripts/chest_xray_ops/cli.py": "from chest_xray_ops.commands import serve",
        "scripts/chest_xray_ops/commands/__init__.py": "",
        "scripts/chest_xray_ops/commands/evaluate.py": "import chest_xray.classifier",
        "scripts/chest_xray_ops/commands/serve.py": "import chest_xray.machine",
        "scripts/serve.py": "from chest_xray_ops.commands.serve import main",
    }
    assert violations(files) == []
    for path in ("scripts/chest_xray_ops/keys.py", "scripts/chest_xray_ops/commands/keys.py"):
        found = violations({**files, path: "from chest_xray_ops.commands import serve"})
        assert len(found) == 1
        assert "never imported" in found[0]


def test_files_are_short():
    found = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("handler", "model", "scripts", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    long = {path: lines for path, lines in found.items() if lines > LINES}
    assert set(long) == set(LONGER), long
