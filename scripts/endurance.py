"""Change everything about a running server under load, and count what its callers lose.

examples:
  python scripts/endurance.py --url https://127.0.0.1:8443 --key KEY --archive chest-xray-3.1.mar
  python scripts/endurance.py --url http://127.0.0.1:8000 --key KEY --archive chest-xray-3.1.mar \\
      --requests 50000 --callers 32 --rotate KEY-ID

Rolls the archive out, back and out again, scales 2 -> 4 -> 1 -> 2, rotates the callers' key if its
id is given, then kills a random worker every 5 s; asks a drawn film all the while, with wrk
(Debian: apt install wrk). The server is the one that the TS_... variables name; the URL may be its
edge's.
exit status: 0 nothing was lost, 1 something was.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark_peers.images import draw
from benchmark_peers.load import Load, as_base64, load
from chest_xray_ops.cli import ROOT, console, parser, run
from chest_xray_ops.torchserve.client import TorchServeClient
from chest_xray_ops.torchserve.instance import MODEL, Instance

_SEGMENT_S = 5.0


class Callers:
    """Ask in segments of a few seconds until told to stop."""

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
        """While the caller of this does something."""
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


def _manage(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "manage.py"), *arguments],
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _rotate(key_id: str) -> None:
    script = str(ROOT / "scripts" / "keys.py")
    subprocess.run(
        [sys.executable, script, "rotate", key_id], stdout=subprocess.DEVNULL, check=True
    )


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


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--url", default=Instance.find().inference_url)
    arguments.add_argument("--key", default="", help="the callers' key")
    arguments.add_argument("--rotate", metavar="KEY-ID", help="the id of the callers' key")
    arguments.add_argument("--archive", type=Path, required=True, help="of another version")
    arguments.add_argument("--callers", type=int, default=32)
    arguments.add_argument("--requests", type=int, default=50_000, help="in all, at least")
    arguments.add_argument("--kill", type=float, default=120, help="seconds of killing workers")
    args = arguments.parse_args()

    callers = Callers(args.url, args.key or Instance.find().key("inference") or "", args.callers)
    callers.ask(2)
    before = callers.ask(10)
    console.print(f"before: {before.per_s:.0f} requests/s, p99 {before.p99_ms:.0f} ms")
    steps: list[tuple[str, Callable[[], None]]] = [
        ("rollout", lambda: _manage("rollout", str(args.archive), "--timeout", "300")),
        ("rollback", lambda: _manage("rollback")),
        ("rollout again", lambda: _manage("rollback")),  # the same, once it is registered
        ("scale to 2", lambda: _manage("scale", "2")),
        ("scale to 4", lambda: _manage("scale", "4")),
        ("scale to 1", lambda: _manage("scale", "1")),
        ("scale back to 2", lambda: _manage("scale", "2")),
    ]
    if args.rotate:
        steps.append(("rotate the key", lambda: _rotate(args.rotate)))
    found: dict[str, Any] = {"before": asdict(before)}
    total = 0
    for name, step in steps:
        seen: list[Load] = []
        start = time.monotonic()
        with callers.asking(seen):
            step()
        found[name] = _summary(seen, time.monotonic() - start)
        total += found[name]["requests"]
        console.print(f"{name}: {found[name]}")
    while total < args.requests:
        seen = [callers.ask(_SEGMENT_S)]
        total += round(seen[0].per_s * _SEGMENT_S)
        found["quiet failed"] = found.get("quiet failed", 0) + seen[0].failed
    if args.kill:
        seen = []
        with callers.asking(seen):
            took = _kill_workers(args.kill)
        found["killing workers"] = {**_summary(seen, args.kill), "replaced after s": took}
        console.print(f"killing workers: {found['killing workers']}")
    lost = sum(each["failed"] for each in found.values() if isinstance(each, dict))
    print(json.dumps({**found, "requests": total, "lost": lost}, indent=2))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(run(main))
