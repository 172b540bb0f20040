"""At most as many threads of all workers compute as there are cores; the others wait meanwhile."""

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

_PIPE_BYTES = 65_536
_RETRY_S = 0.05  # in which a killed worker's slot is noticed
_LATELY_NS = 20_000_000  # longer than a busy worker leaves a core alone
_FULL = 8
"""Images that are worth a core: what the network takes at once."""
_Items = TypeVar("_Items")
_Result = TypeVar("_Result")


class CoreSlots:
    """A number of slots, shared by all processes that name the same folder.

    A slot is a lock on a file, so a worker that is killed gives its slot back. No one can wait for
    several files at once, so whoever gives a slot back says so in a pipe.
    """

    def __init__(
        self, count: int, folder: Path, prepare: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            count: of slots: as many threads compute at a time.
            folder: where the slots lie, the same for all processes that share them.
            prepare: is called in every thread that computes, besides the caller's own.
        """
        self._count = count
        self._files = [_lock_file(folder, str(index)) for index in range(count)]
        self._turnstile = _lock_file(folder, "turnstile")
        self._given_back = _pipe(folder, "given-back")
        # A process may lock a file again that it holds already, so its own are remembered here.
        self._held: set[int] = set()
        self._guard = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, count - 1), "compute", prepare)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a free slot and hold it."""
        [held] = self._wait(1)
        try:
            yield
        finally:
            self._release(held)

    def share(
        self, function: Callable[[_Items], _Result], items: _Items, in_turn: bool = False
    ) -> list[_Result]:
        """Share ``items`` among a free core and those that are spare, and wait for all.

        A core is spare if it has been free for a while. One that is free between two batches of
        another worker serves both better if it is left to that worker: threads of one process also
        wait for each other.

        Args:
            function: called with a part of the items, in a thread for each core.
            items: a sequence whose slices are of its own kind; not empty.
            in_turn: wait for as many cores as they fill, so that such batches of several workers
                come one after the other instead of side by side. For batches that wait for other
                servers: the first is through in half the time, and waits for its next images while
                the others compute.

        Returns:
            What ``function`` returned for each part, in the order of the items.
        """
        count = len(items)  # type: ignore[arg-type]
        own = self._wait(max(1, min(count // _FULL, self._count)) if in_turn else 1)
        held = list(own)
        while len(held) < count and (more := self._take(spare=True)) is not None:
            held.append(more)
        bounds = [count * part // len(held) for part in range(len(held) + 1)]
        first, *others = [items[start:end] for start, end in pairwise(bounds)]  # type: ignore[index]

        def compute(part: Any, slot: int) -> _Result:
            try:
                return function(part)
            finally:
                self._release(slot, spare=slot not in own)

        started = [
            self._threads.submit(compute, part, slot)
            for part, slot in zip(others, held[1:], strict=True)
        ]
        here = compute(first, held[0])
        return [here, *(each.result() for each in started)]

    def close(self) -> None:
        self._threads.shutdown()
        for file in (*self._files, self._turnstile, self._given_back):
            os.close(file)

    def _wait(self, count: int) -> list[int]:
        if count == 1 and (free := self._take()) is not None:
            return [free]
        held: list[int] = []
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)  # one waits for slots, others for it
        try:
            while len(held) < count:
                if (free := self._take()) is not None:
                    held.append(free)
                elif select.select([self._given_back], [], [], _RETRY_S)[0]:
                    os.read(self._given_back, _PIPE_BYTES)  # all there is: the slots are tried next
        finally:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)
        return held

    def _take(self, spare: bool = False) -> int | None:
        with self._guard:
            for file in self._files:
                if file in self._held or (spare and _used_lately(file)):
                    continue
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                self._held.add(file)
                return file
        return None

    def _release(self, file: int, spare: bool = False) -> None:
        if not spare:
            os.utime(file)  # tells others since when it is free
        with self._guard:
            self._held.remove(file)
            fcntl.flock(file, fcntl.LOCK_UN)
        with suppress(BlockingIOError):  # full of such news
            os.write(self._given_back, b".")


def _used_lately(file: int) -> bool:
    return 0 <= time.time_ns() - os.fstat(file).st_mtime_ns < _LATELY_NS


def _path(folder: Path, name: str) -> Path:
    return folder / f"chest-xray-slot-{name}"


def _lock_file(folder: Path, name: str) -> int:
    return os.open(_path(folder, name), os.O_CREAT | os.O_RDWR, 0o600)


def _pipe(folder: Path, name: str) -> int:
    with suppress(FileExistsError):
        os.mkfifo(_path(folder, name), 0o600)
    return os.open(_path(folder, name), os.O_RDWR | os.O_NONBLOCK)  # with a writer it never ends
