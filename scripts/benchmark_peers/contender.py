"""What is measured: a server that starts, answers and ends, ours or another; or no server."""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmark_peers.load import Load, load
from chest_xray_ops.archive import build
from chest_xray_ops.places import ROOT
from chest_xray_versions import DEFAULT_VERSION, weights_path

_START_S = 120
_STOP_S = 10


class Contender:
    """One server and its processes."""

    path: str

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def request(self, image: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body that ask about ``image``."""
        return {"Content-Type": "image/jpeg"}, image

    @contextmanager
    def running(self, workers: int, image: bytes) -> Iterator[float]:
        """Start it and give the seconds until it answered; whatever happens, it ends.

        Raises:
            RuntimeError: it does not answer in time, or its answer is wrong.
        """
        self._port = _free_ports(6)
        command, environment = self._prepare(workers)
        start = time.monotonic()
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                command,
                cwd=tempfile.gettempdir(),
                env={**os.environ, **environment, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                while not self._answers(image):
                    if self._process.poll() is not None or time.monotonic() - start > _START_S:
                        log.seek(0)
                        text = log.read().decode(errors="replace")
                        raise RuntimeError("does not answer:\n" + text[-2000:])
                    time.sleep(0.05)
                yield time.monotonic() - start
            finally:
                self._stop()

    def load(self, headers: dict[str, str], body: bytes, callers: int, seconds: float) -> Load:
        """Ask it as :func:`benchmark_peers.load.load` does."""
        return load(self._url, headers, body, callers, seconds)

    def stages(self) -> dict[str, float]:
        """What it has counted of its own stages so far; nothing if it does not."""
        return {}

    def memory_mb(self) -> float:
        """Proportional set size of all its processes, what they share counted once."""
        total = 0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 2**20

    def _prepare(self, workers: int) -> tuple[Sequence[str], dict[str, str]]:
        raise NotImplementedError

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self.path}"

    def _answers(self, image: bytes) -> bool:
        headers, body = self.request(image)
        try:
            answer = requests.post(self._url, headers=headers, data=body, timeout=20)
        except requests.RequestException:
            return False
        return answer.ok

    def _stop(self) -> None:
        assert self._process
        processes = self._processes()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _processes(self) -> list[psutil.Process]:
        assert self._process
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Ours(Contender):
    """This project's server, as ``make serve`` starts it, without keys."""

    path = "/predictions/chest-xray"

    def __init__(
        self,
        version: str = DEFAULT_VERSION,
        workers: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        name = "ours" if version == DEFAULT_VERSION else f"ours, version {version}"
        name += f", {workers} workers" if workers else ""
        super().__init__(name, environment or {})
        self._version, self._workers = version, workers

    def stages(self) -> dict[str, float]:
        text = requests.get(f"http://127.0.0.1:{self._port + 5}/metrics", timeout=20).text
        return {
            sample.name.removeprefix("chest_xray_") + "".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            if family.name in ("chest_xray_stage_seconds", "chest_xray_batch_size")
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }

    def _prepare(self, workers: int) -> tuple[Sequence[str], dict[str, str]]:
        store = ROOT / "build" / "benchmark" / "model-store"
        build(self._version, weights_path(self._version), store)
        port = self._port
        addresses = {
            "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{port}",
            "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{port + 1}",
            "TS_METRICS_ADDRESS": f"http://127.0.0.1:{port + 2}",
            "TS_GRPC_INFERENCE_PORT": str(port + 3),
            "TS_GRPC_MANAGEMENT_PORT": str(port + 4),
            "CHEST_XRAY_METRICS_ADDRESS": f"127.0.0.1:{port + 5}",
            "TS_MODEL_STORE": str(store),
            "TS_DISABLE_TOKEN_AUTHORIZATION": "true",
            # Drawn films are no films to the gate.
            "CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION": "true",
            "CHEST_XRAY_RUN_DIR": str(ROOT / "build" / "benchmark" / "run"),
        }
        if self._workers:
            addresses["TS_DEFAULT_WORKERS_PER_MODEL"] = str(self._workers)
        serve = [sys.executable, "-m", "chest_xray_ops", "serve"]
        return [*serve, "--version", self._version], addresses


class Peer(Contender):
    """Another server, from its module in this package."""

    def __init__(
        self, name: str, module: str, code: str, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, {"CODE": code, **(environment or {})})
        self._name = f"benchmark_peers.{module}"
        self._packages = ROOT / "build" / "benchmark" / module

    @cached_property
    def _module(self) -> Any:
        return importlib.import_module(self._name)

    @property
    def path(self) -> str:  # type: ignore[override]
        return str(self._module.PATH)

    def request(self, image: bytes) -> tuple[dict[str, str], bytes]:
        asked: tuple[dict[str, str], bytes] = self._module.request(image)
        return asked

    def _prepare(self, workers: int) -> tuple[Sequence[str], dict[str, str]]:
        self._install()
        environment = {"PORT": str(self._port), "WORKERS": str(workers)}
        # Its own packages come before this project's, which may be of other versions.
        environment["PYTHONPATH"] = str(self._packages)
        return [sys.executable, "-m", self._name], environment

    def _install(self) -> None:
        """Its packages, in a folder of their own on top of this project's."""
        wanted = json.dumps(self._module.REQUIREMENTS)
        done = self._packages / "installed.json"
        if not self._module.REQUIREMENTS or (done.exists() and done.read_text() == wanted):
            return
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade",
             "--target", str(self._packages), *self._module.REQUIREMENTS],
            stdout=sys.stderr,
            check=True,
        )  # fmt: skip
        done.write_text(wanted)


class Limit:
    """The same work in as many processes, without a server."""

    def __init__(self, code: str, what: str = "all") -> None:
        """``what``: ``all`` of the work, or its ``parts`` each for itself."""
        self.name = f"limit, {code} code"
        self._code, self._what = code, what

    def measure(self, image: bytes, seconds: float, workers: int) -> dict[str, Any]:
        run = subprocess.run(
            [sys.executable, "-m", "benchmark_peers.limit", self._what, str(seconds)],
            env={**os.environ, "CODE": self._code, "WORKERS": str(workers)},
            input=image,
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(run.stdout)
        return found


@contextmanager
def upstream(image: Path, delays_ms: Sequence[int]) -> Iterator[dict[int, int]]:
    """Web servers of one image, by their delay; gives their ports."""
    first = _free_ports(len(delays_ms))
    ports = {delay: first + index for index, delay in enumerate(delays_ms)}
    module = [sys.executable, "-m", "benchmark_peers.upstream"]
    started = [
        subprocess.Popen([*module, str(port), str(image), str(delay / 1000)])
        for delay, port in ports.items()
    ]
    try:
        time.sleep(1)
        yield ports
    finally:
        for process in started:
            process.kill()
            process.wait()


def _free_ports(count: int) -> int:
    """The first of so many neighbouring free ports."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with contextlib.suppress(OSError):
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
                return int(first)
