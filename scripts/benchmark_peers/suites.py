"""What is measured of this server and of others, in one run and in turns."""

import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmark_peers import report
from benchmark_peers.contender import Contender, Limit, Ours, Peer, upstream
from benchmark_peers.images import IMAGES, draw
from benchmark_peers.load import as_base64, as_url
from chest_xray.machine import cores
from chest_xray_ops.terminal import say

SUITES = ("servers", "callers", "inputs", "urls", "versions", "device")
PEERS = {
    "gunicorn": "gunicorn_app",
    "LitServe": "litserve_app",
    "BentoML": "bentoml_app",
    "Ray Serve": "ray_app",
    "MLServer": "mlserver_app",
    "Triton": "triton_app",
}
_CALLERS = (1, 4, 8, 16, 32, 64)
_FEW = (1, 8, 32)
_UP_TO_MANY = (1, 32, 128)
_DELAYS_MS = (0, 50, 200)
_IMAGE = "JPEG 1024"
_PAUSE_S = 0.5  # in which servers finish what the last measurement left in their queues

Rows = list[dict[str, Any]]


class Benchmark:
    """The suites, and what each of them needs."""

    def __init__(self, rounds: int, seconds: float, workers: int) -> None:
        self.rounds, self.seconds, self.workers = rounds, seconds, workers
        self.images = {name: draw(name) for name in IMAGES}
        self.image = self.images[_IMAGE]

    def servers(self, wanted: list[str]) -> Rows:
        """Everybody at few, some and many callers, in turns."""
        contenders: list[Contender | Limit] = [Limit("documented"), Limit("ours"), Ours()]
        contenders.append(Ours(workers=self.workers))  # as many processes as the others have
        contenders += [
            Peer("TorchServe, stock", "torchserve_app", "documented"),
            Peer("TorchServe, threads tamed", "torchserve_app", "documented", {"TAMED": "1"}),
            Peer("TorchServe, our code", "torchserve_app", "ours"),
        ]
        for name, module in PEERS.items():
            contenders += [
                Peer(name, module, "documented"),
                Peer(f"{name}, our code", module, "ours"),
            ]
        chosen = [
            each
            for each in contenders
            if not wanted or any(each.name.lower().startswith(name.lower()) for name in wanted)
        ]
        return self._in_turns(chosen, lambda each: self._ask(each, _FEW))

    def callers(self) -> Rows:
        """Ours from one caller to many."""
        return self._in_turns([Ours()], lambda each: self._ask(each, _CALLERS))

    def inputs(self) -> Rows:
        """Ours with every kind of image and of request."""

        def ask(each: Contender) -> Rows:
            rows = []
            for name, image in self.images.items():
                rows += self._ask(each, (32,), *each.request(image), input=name)
            rows += self._ask(each, (32,), *as_base64(self.image), input=f"{_IMAGE} as base64")
            return rows

        return self._in_turns([Ours()], ask)

    def urls(self) -> Rows:
        """Ours with imageUrl and upstreams that are near and far."""

        def ask(each: Contender) -> Rows:
            rows = self._ask(each, (64,), input="bytes")
            for delay, port in ports.items():
                url = f"http://127.0.0.1:{port}/film.jpg"
                name = f"imageUrl, upstream {delay} ms"
                rows += self._ask(each, (64,), *as_url(url), input=name)
            return rows

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.jpg"
            path.write_bytes(self.image)
            with upstream(path, _DELAYS_MS) as ports:
                hosts = ",".join(f"127.0.0.1:{port}" for port in ports.values())
                ours = Ours(environment={"CHEST_XRAY_ALLOWED_HOSTS": hosts})
                return self._in_turns([ours], ask)

    def versions(self) -> Rows:
        """Ours with every version and number of workers."""
        versions: list[Contender | Limit] = [
            Ours(version) for version in ("1.0", "2.0", "3.0", "4.0")
        ]
        versions += [Ours(workers=count) for count in (1, 2, 4)]
        return self._in_turns(versions, lambda each: self._ask(each, (32,)))

    def device(self) -> Rows:
        """Where the time goes in ours as it starts on this machine, with and without a GPU."""

        def ask(each: Contender) -> Rows:
            rows = []
            for callers in _UP_TO_MANY:
                before = each.stages()
                [row] = self._ask(each, (callers,))
                counts = {key: value - before.get(key, 0) for key, value in each.stages().items()}
                rows.append({**row, **_stage_means(counts)})
            return rows

        ours: list[Contender | Limit] = [Limit("ours", "parts"), Ours(workers=1), Ours()]
        return self._in_turns(ours, ask)

    def _in_turns(
        self, contenders: list[Contender | Limit], ask: Callable[[Contender], Rows]
    ) -> Rows:
        """Every contender once a round, alone on the machine; medians over the rounds."""
        found: dict[tuple[Any, ...], Rows] = defaultdict(list)
        for number in range(1, self.rounds + 1):
            for each in contenders:
                say(f"round {number} of {self.rounds}: {each.name}")
                for row in self._measure(each, ask):
                    named = {key: row.pop(key) for key in list(row) if key in report.NAMES}
                    found[tuple(named.items())].append(row)
        return [{**dict(named), **_medians(rows)} for named, rows in found.items()]

    def _measure(self, each: Contender | Limit, ask: Callable[[Contender], Rows]) -> Rows:
        if isinstance(each, Limit):
            return [{"server": each.name, **each.measure(self.image, self.seconds, self.workers)}]
        try:
            with each.running(self.workers, self.image) as start_s:
                rows = ask(each)
                return [
                    *rows,
                    {"server": each.name, "start_s": start_s, "memory_mb": each.memory_mb()},
                ]
        except (RuntimeError, OSError) as error:
            say(f"{each.name}: {error}")
            return []

    def _ask(
        self,
        each: Contender,
        callers: tuple[int, ...],
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        **named: str,
    ) -> Rows:
        if headers is None:
            headers, body = each.request(self.image)
        each.load(headers, body, callers[-1], 1)  # queues, connections and caches
        rows = []
        for count in callers:
            time.sleep(_PAUSE_S)
            found = asdict(each.load(headers, body, count, self.seconds))
            rows.append({"server": each.name, **named, "callers": count, **found})
        return rows


def _stage_means(counts: dict[str, float]) -> dict[str, float]:
    """Milliseconds of each stage, and requests of a batch."""
    stages = ("decode", "inference", "handler")
    means = {
        f"{stage}_ms": 1000
        * counts[f"stage_seconds_sum{stage}"]
        / counts[f"stage_seconds_count{stage}"]
        for stage in stages
    }
    return {**means, "batch": counts["batch_size_sum"] / counts["batch_size_count"]}


def _medians(rows: Rows) -> dict[str, float]:
    return {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")
    return {
        "processor": model.strip(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "python": platform.python_version(),
    }
