"""Which versions have a worker that is at work, told by locks that end with their holder; and when
one last answered, told by a file's time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chest_xray.worker.contract import activity_file


class Activity:
    """One worker's share of its version's lock."""

    def __init__(self, version: str) -> None:
        path = activity_file(Path(tempfile.gettempdir()), version)
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
        """Note that the worker has just answered."""
        os.utime(self._file)
