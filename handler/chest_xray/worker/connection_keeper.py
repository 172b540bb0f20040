"""Keeps a killed worker's connection open until TorchServe can tell its callers.

TorchServe collects a batch for a worker that waits, for a millisecond or more. If the connection
ends meanwhile, it forgets the requests it has taken from the queue, and their callers wait for
ever; once the batch is sent, they are told. So a small process of its own holds the connection too.
When its worker dies while waiting, that process lets go as soon as something has been sent, which
nobody will read; when the worker dies at work, at once.
"""

import mmap
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LONGEST_S = 0.5
"""If nothing is sent for so long, nothing is being collected: or else what has been collected in
the very last millisecond is lost."""


class ConnectionKeeper:
    """The worker's end."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """Start the process, where there is a connection of TorchServe's."""
        flag = os.memfd_create("at-work")
        os.truncate(flag, 1)
        self._at_work = mmap.mmap(flag, 1)
        life, self._life = os.pipe()  # ours stays open for as long as the worker lives
        if (connection := _connection()) is not None:
            self._process = _start(longest_s, connection, flag, life)
        os.close(life)
        os.close(flag)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a batch is answered."""
        self._at_work[0] = 1
        try:
            yield
        finally:
            self._at_work[0] = 0


def _connection() -> int | None:
    """The descriptor of the connection on which TorchServe sends batches: it has no other way to
    learn of it before the first one. It bears the name that the worker was told to listen at."""
    import socket  # here, so that the process is spared its memory

    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as one:
                    listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    if one.getsockname() in sys.argv and not listens:
                        return descriptor
    return None


def _start(longest_s: float, *kept: int) -> object:
    import subprocess  # here, see above

    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(longest_s), *map(str, kept)],
        pass_fds=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _keep(longest_s: float, connection: int, flag: int, life: int) -> None:
    """Return when the connection may end, or TorchServe has ended it."""
    waiting = select.poll()
    waiting.register(life, 0)  # which tells of its end
    waiting.register(connection, select.POLLRDHUP)
    if waiting.poll() != [(life, select.POLLHUP)] or os.pread(flag, 1, 0) == b"\1":
        return
    waiting.unregister(life)
    waiting.modify(connection, select.POLLIN)
    waiting.poll(1000 * longest_s)


if __name__ == "__main__":
    _keep(float(sys.argv[1]), *map(int, sys.argv[2:]))
