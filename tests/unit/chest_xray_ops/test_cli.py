"""The command chest-xray: its verbs, their help, and how failures end."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from chest_xray_ops import cli
from chest_xray_ops.edge.nginx import EdgeFailed
from chest_xray_ops.failure import Refused, WrongUsage
from chest_xray_ops.torchserve.client import ServerError, ServerUnreachable
from chest_xray_ops.torchserve.server import StartFailed
from chest_xray_ops.versions.rollout import RolloutFailed
from support.paths import ROOT

VERBS = [verb for group in cli.GROUPS for verb in group.verbs]
COMMAND = [sys.executable, "-m", "chest_xray_ops"]


def verb_that(does, monkeypatch):
    """A verb that does this, in place of one there is."""
    command = SimpleNamespace(__doc__="Do it.", add_arguments=lambda parser: None, run=does)
    monkeypatch.setattr(cli, "import_module", lambda name: command)
    return cli.main(["list"])


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([verb, "--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: chest-xray {verb} ")
    examples = text.partition("examples:\n")[2].partition("\n\n")[0]
    assert f"chest-xray {verb}" in examples or "python3 scripts/" in examples


def test_every_module_is_a_verb():
    folder = ROOT / "scripts" / "chest_xray_ops" / "commands"
    modules = {path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")}
    assert modules == set(VERBS)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_every_verb_in_its_group(arguments, capsys):
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    for group in cli.GROUPS:
        assert f"\n{group.title}:\n" in text
        for verb in group.verbs:
            [line] = [line for line in text.splitlines() if line.startswith(f"  {verb} ")]
            assert len(line) <= 100


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("chest-xray ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "usage:"), (["rolout"], "mean rollout?"), (["x"], "--help")],
)
def test_unknown_verbs(arguments, said, capsys):
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad"), 1),
        (FileNotFoundError("bad"), 1),
        (TimeoutError("bad"), 1),
        (ServerError(404, {"type": "T", "message": "bad"}), 1),
        (Refused("bad"), 1),
        (RolloutFailed("bad"), 1),
        (StartFailed("bad"), 1),
        (EdgeFailed("bad"), 1),
        (WrongUsage("bad"), 2),
        (ServerUnreachable("bad"), 3),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_is_one_line_and_a_status(error, status, monkeypatch, capsys):
    assert verb_that(raising(error), monkeypatch) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("chest-xray list: ")
    assert shown.err.endswith("bad\n")
    assert shown.err.count("\n") == 1


def test_a_missing_package_names_its_extra(monkeypatch, capsys):
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    monkeypatch.setattr(cli, "import_module", raising(missing))
    assert cli.main(["train"]) == 1
    assert capsys.readouterr().err == (
        "chest-xray train: torch is not installed: pip install 'chest-xray[train]'\n"
    )


def test_ctrl_c(monkeypatch, capsys):
    assert verb_that(raising(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_a_program_waits(tmp_path):
    """A real signal in the middle of reading its list of inputs."""
    command = [*COMMAND, "predict", "--from", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        wchan = Path(f"/proc/{process.pid}/wchan")
        deadline = time.monotonic() + 60
        while "pipe" not in wchan.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_pipe_that_nobody_reads():
    """As in ``chest-xray --help | true``."""
    with subprocess.Popen(
        [*COMMAND, "list", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode in (0, 141)


def test_scripts_are_the_same_verbs():
    for name in ("predict", "keys", "archive", "train", "evaluate"):
        text = (ROOT / "scripts" / f"{name}.py").read_text()
        assert f'run_script("{name}")' in text
