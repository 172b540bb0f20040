"""Waiting for something, and deadlines that a busy machine does not break."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> float:
    """Returns how many it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)
    return time.monotonic() - start


@contextmanager
def on_time(seconds: float, grace_s: float = 0.5) -> Iterator[None]:
    """What happens inside ends within so many seconds and the grace, which begins when a thread
    that waits for no more than the first wakes: a machine that stops for a moment holds up both."""
    done, late = threading.Event(), threading.Event()

    def wait() -> None:
        done.wait(seconds)
        if not done.wait(grace_s):
            late.set()

    watch = threading.Thread(target=wait)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()
    assert not late.is_set()
