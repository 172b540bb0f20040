"""What a worker and its supervisor agree on: variables, files in the workers' temporary directory,
and names of logs."""

import fcntl
import os
from pathlib import Path

from chest_xray.request import PROBE_HEADER

__all__ = [
    "ACCESS_LOG",
    "AUDIT_LOG",
    "COUNTS_VARIABLE",
    "LOGS_VARIABLE",
    "PROBE_HEADER",
    "PROBE_VARIABLE",
    "activity_file",
    "is_busy",
    "last_answer",
    "retirement_order",
]

PROBE_VARIABLE = "CHEST_XRAY_PROBE"
"""The supervisor's password: a request with it in the header PROBE_HEADER only asks whether a
worker answers, so it is neither counted nor logged."""
COUNTS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The folder where each worker counts in files of its own, which the supervisor adds up; without
it, workers count in memory. prometheus_client reads it, too."""
LOGS_VARIABLE = "LOG_LOCATION"
"""The folder of the logs; TorchServe reads it, too."""
ACCESS_LOG = "access.log"
AUDIT_LOG = "audit.log"


def activity_file(folder: Path, version: str) -> Path:
    """The file that every worker of a version locks while it answers, and whose time of change it
    sets after an answer.

    Args:
        folder: the workers' temporary directory.
        version: of the model; ``*`` gives a pattern for all versions.
    """
    return folder / f"chest-xray-busy-{version}"


def is_busy(folder: Path, version: str) -> bool:
    """Whether any worker of this version is answering requests.

    Args:
        folder: the workers' temporary directory.

    Raises:
        FileNotFoundError: there is no such directory on this machine, so nothing can be told.
    """
    try:
        file = os.open(activity_file(folder, version), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        return False  # no worker has started yet
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def last_answer(folder: Path, version: str = "*") -> int:
    """When a worker last answered, in nanoseconds since 1970; 0 if none ever did.

    Args:
        folder: the workers' temporary directory.
        version: of the model; by default, all versions.
    """
    files = folder.glob(activity_file(folder, version).name)
    return max((path.stat().st_mtime_ns for path in files), default=0)


def retirement_order(folder: Path, pid: int) -> Path:
    """The file that orders a worker to stand still before it is taken away; the worker removes it
    once it does.

    Args:
        folder: the workers' temporary directory.
        pid: the worker's process.
    """
    return folder / f"chest-xray-leave-{pid}"
