"""Which versions have a worker that is at work, told by locks that end with their holder; and when
one last answered, told by a file's time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Busy:
    """One worker's share of its version's lock."""

    def __init__(self, version: str) -> None:
        path = _path(Path(tempfile.gettempdir()), version)
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While a batch is answered."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def answered(self) -> None:
        """As it should, just now."""
        os.utime(self._file)


def last_answer(folder: Path, version: str = "*") -> int:
    """The time of the last answer of any version, in ns; 0 if there was none.

    Args:
        folder: the workers' temporary directory.
        version: the only one to look at.
    """
    files = folder.glob(_path(folder, version).name)
    return max((path.stat().st_mtime_ns for path in files), default=0)


def is_busy(folder: Path, version: str) -> bool:
    """Whether any worker of this version is at work.

    Args:
        folder: their temporary directory.

    Raises:
        FileNotFoundError: it cannot be seen from here, so nothing can be told.
    """
    try:
        file = os.open(_path(folder, version), os.O_RDWR | os.O_CLOEXEC)
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


def _path(folder: Path, version: str) -> Path:
    return folder / f"chest-xray-busy-{version}"
