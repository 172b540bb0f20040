"""What callers lose while everything about a running server is changed under load."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmark_peers.images import draw
from benchmark_peers.load import Load, as_base64, load
from chest_xray_ops.terminal import say
from chest_xray_ops.torchserve.client import TorchServeClient
from chest_xray_ops.torchserve.instance import MODEL, Instance

_SEGMENT_S = 5.0


class Callers:
    """Callers that ask in segments of a few seconds until told to stop."""

    def __init__(self, url: str, key: str, count: int) -> None:
        self._url = f"{url}/predictions/{MODEL}"
        image = json.loads(as_base64(draw("JPEG 512"))[1])
        self._body = json.dumps({**image, "allowOutOfDistribution": True}).encode()
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._count = count

    def ask(self, seconds: float) -> Load:
        return load(self._url, self._headers, self._body, self._count, seconds)

    @contextmanager
    def asking(self, seen: list[Load]) -> Iterator[None]:
        """Ask for as long as the block lasts."""
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                seen.append(self.ask(_SEGMENT_S))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def changes(archive: Path, key_id: str | None) -> Iterator[tuple[str, Callable[[], None]]]:
    """Everything that an operator changes about a running server, by name.

    Args:
        archive: of another version than the one that is served.
        key_id: the id of the callers' key, if it is to be rotated.
    """
    yield "rollout", lambda: _run("rollout", str(archive), "--timeout", "300")
    yield "rollback", lambda: _run("rollback")
    yield "rollout again", lambda: _run("rollback")  # the same, once it is registered
    for name, workers in (("to 2", "2"), ("to 4", "4"), ("to 1", "1"), ("back to 2", "2")):
        yield f"scale {name}", partial(_run, "scale", workers)
    if key_id:
        yield "rotate the key", lambda: _run("keys", "rotate", key_id)


def measure(
    callers: Callers,
    steps: Iterable[tuple[str, Callable[[], None]]],
    requests: int,
    kill_s: float,
) -> dict[str, Any]:
    """What callers see while each step is taken and while workers are killed.

    Args:
        callers: who asks all the while.
        steps: what to do, by name.
        requests: how many to ask at least before workers are killed.
        kill_s: seconds of killing a worker every 5 s.
    """
    callers.ask(2)
    before = callers.ask(10)
    say(f"before: {before.per_s:.0f} requests/s, p99 {before.p99_ms:.0f} ms")
    found: dict[str, Any] = {"before": asdict(before)}
    total = 0
    for name, step in steps:
        seen: list[Load] = []
        start = time.monotonic()
        with callers.asking(seen):
            step()
        found[name] = _summary(seen, time.monotonic() - start)
        total += found[name]["requests"]
        say(f"{name}: {found[name]}")
    while total < requests:
        seen = [callers.ask(_SEGMENT_S)]
        total += round(seen[0].per_s * _SEGMENT_S)
        found["quiet failed"] = found.get("quiet failed", 0) + seen[0].failed
    if kill_s:
        seen = []
        with callers.asking(seen):
            took = _kill_workers(kill_s)
        found["killing workers"] = {**_summary(seen, kill_s), "replaced after s": took}
        say(f"killing workers: {found['killing workers']}")
    lost = sum(each["failed"] for each in found.values() if isinstance(each, dict))
    return {**found, "requests": total, "lost": lost}


def _run(verb: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "chest_xray_ops", verb, *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _kill_workers(seconds: float) -> list[float]:
    """Kill a random worker every 5 s; returns the seconds that each took to be replaced."""
    client = TorchServeClient.of(Instance.find())
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        workers = client.describe()["workers"]
        victim = random.choice([each["pid"] for each in workers if each["status"] == "READY"])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        while True:
            now = client.describe()["workers"]
            if victim not in [each["pid"] for each in now] and all(
                each["status"] == "READY" for each in now
            ):
                break
            time.sleep(0.1)
        took.append(round(time.monotonic() - start, 1))
        time.sleep(max(0.0, 5 - took[-1]))
    return took


def _summary(seen: list[Load], seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 1),
        "requests": round(sum(each.per_s * _SEGMENT_S for each in seen)),
        "failed": sum(each.failed for each in seen),
        "p99_ms": max(each.p99_ms for each in seen),
    }
