"""At most as many workers compute as there are cores; the others wait for images meanwhile."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.0005


class Slots:
    """A number of slots shared by all processes with the same temporary directory.

    A slot is a lock on a file, so a worker that is killed gives its slot back.
    """

    def __init__(self, count: int) -> None:
        folder = Path(tempfile.gettempdir())
        self._files = [
            os.open(folder / f"chest-xray-slot-{index}", os.O_CREAT | os.O_RDWR, 0o600)
            for index in range(count)
        ]

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a free slot and hold it."""
        while (held := self._take()) is None:
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)

    def close(self) -> None:
        for file in self._files:
            os.close(file)

    def _take(self) -> int | None:
        for file in self._files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return file
        return None


def cores() -> int:
    """CPU cores that this process may use, a container's share included."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        share = -(-int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return count or 1
    return max(1, min(count or 1, share))
