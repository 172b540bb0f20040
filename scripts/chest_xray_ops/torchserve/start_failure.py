"""Finds the reason of a failed start in its logs, for a person."""

from collections import defaultdict
from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"
_DEAD = "Backend worker process died."


def explain(logs: Path, only_workers: bool = False) -> str:
    """A worker's traceback, or else the complaints of the server and of Java; may be empty.

    Args:
        logs: the instance's log directory, emptied before the start.
        only_workers: look only for a worker that gave up.
    """
    if reason := _worker_traceback(logs / "workers.log"):
        return reason
    if only_workers:
        return ""
    lines = (_read(logs / "server.log") + _read(logs / "java.log")).splitlines()
    # Without the frames of stack traces: the causes are enough, and in one view.
    return "\n".join(line for line in lines if not line.lstrip().startswith(("at ", "...")))


def _worker_traceback(log: Path) -> str:
    """The output of the first worker that gave up, from its first traceback on."""
    outputs: dict[str, list[str]] = defaultdict(list)
    for line in _read(log).splitlines():
        # date|thread|message, and the thread names the worker: several fail at the same time
        parts = line.split("|", 2)
        if len(parts) == 3:
            outputs[parts[1]].append(parts[2])
    for lines in outputs.values():
        if any(_DEAD in line for line in lines) and _TRACEBACK in lines:
            # A worker that was started again repeats itself: keep its first attempt.
            start = lines.index(_TRACEBACK)
            end = next(
                (i for i in range(start, len(lines)) if lines[i].startswith("s_name_part0")),
                len(lines),
            )
            return "\n".join(lines[start:end])
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
