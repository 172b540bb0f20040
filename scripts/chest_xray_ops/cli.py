"""The command ``chest-xray VERB``: finds the verb, runs it, and turns failures into exit statuses.

A verb is a module of ``commands`` with a docstring, which is its help, and two functions:
``add_arguments(parser)`` and ``run(args) -> int``. Only the verb that is asked for is imported, so
that each needs no more packages than it uses. This module needs none.
"""

import argparse
import ast
import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from chest_xray_ops.failure import Failure

PROGRAM = "chest-xray"
_COMMANDS = "chest_xray_ops.commands"
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_BROKEN_PIPE = 141  # 128 + SIGPIPE


@dataclass(frozen=True)
class Group:
    """Verbs for one purpose."""

    title: str
    extra: str
    """The extra of the package that all of them run with; some need less."""
    verbs: tuple[str, ...]


GROUPS = (
    Group("Ask", "serve", ("predict",)),
    Group("Serve", "serve", ("serve", "edge", "keys", "ready", "system", "environment")),
    Group(
        "Versions",
        "serve",
        ("archive", "list", "describe", "rollout", "rollback", "canary", "scale", "drain",
         "register", "set-default", "unregister"),
    ),
    Group("Train", "train", ("data", "train", "evaluate", "protocols")),
    Group("Measure", "dev", ("benchmark", "endurance", "image")),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the verb and its arguments; by default those of the process.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 3 no server, 130 after Ctrl-C.

    Raises:
        SystemExit: argparse printed help or an error of usage.
    """
    verb, *rest = list(sys.argv[1:] if argv is None else argv) or [""]
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        print(f"{PROGRAM} {_own_version()}")
        return 0
    if not (group := _group_of(verb)):
        print(_unknown(verb), file=sys.stderr)
        return 2
    try:
        status = _run(verb, rest, group)
        sys.stdout.flush()  # a pipe that nobody reads breaks here rather than at exit
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (Failure, ValueError, OSError) as error:
        print(f"{PROGRAM} {verb}: {error}", file=sys.stderr)
        return getattr(error, "exit_status", Failure.exit_status)


def run_script(verb: str) -> NoReturn:
    """Run a verb as a script of its own, which takes the verb's arguments alone, and exit."""
    sys.exit(main([verb, *sys.argv[1:]]))


def _run(verb: str, arguments: Sequence[str], group: Group) -> int:
    command = _imported(verb, group)
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {verb}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    status: int = command.run(parser.parse_args(arguments))
    return status


def _imported(verb: str, group: Group) -> ModuleType:
    try:
        return import_module(_module(verb))
    except ModuleNotFoundError as error:
        if error.name == "benchmark_peers":
            raise Failure("this needs a clone of the project, where it lies") from None
        raise Failure(
            f"{error.name} is not installed: pip install '{PROGRAM}[{group.extra}]'"
        ) from None


def _module(verb: str) -> str:
    return f"{_COMMANDS}.{verb.replace('-', '_')}"


def _group_of(verb: str) -> Group | None:
    return next((group for group in GROUPS if verb in group.verbs), None)


def _unknown(verb: str) -> str:
    if not verb:
        return _help()
    verbs = [known for group in GROUPS for known in group.verbs]
    close = difflib.get_close_matches(verb, verbs, 1)
    meant = f"; did you mean {close[0]}?" if close else f": {PROGRAM} --help lists them"
    return f"{PROGRAM}: unknown verb {verb!r}{meant}"


def _help() -> str:
    lines = [
        f"usage: {PROGRAM} VERB [ARGUMENT ...]",
        f"       {PROGRAM} VERB --help",
        "",
        "Classify chest X-rays as normal, pneumonia or covid-19, and run the service that does.",
    ]
    for group in GROUPS:
        lines += ["", f"{group.title}:"]
        lines += [f"  {verb:<13}{_summary(verb)}" for verb in group.verbs]
    return "\n".join(lines)


def _summary(verb: str) -> str:
    """The first line of a verb's docstring, read without importing what the verb needs."""
    spec = find_spec(_module(verb))
    assert spec
    assert spec.origin
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0].rstrip(".")


def _own_version() -> str:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:  # a script of a clone that nobody installed
        return "not installed"
