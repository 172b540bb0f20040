"""What monitoring asks of a running service: /metrics, /ready and /live, over HTTP."""

import json
import os
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector

from chest_xray.machine import memory_limit


@dataclass(frozen=True)
class Snapshot:
    """How a service is now."""

    ready: bool
    """A worker of the default version answered a picture lately."""
    live: bool
    """Waiting for it makes sense."""
    restarts: int = 0
    """Times that the server was started anew."""
    default: str = ""
    """The default version; empty if the server cannot say."""
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By version and status."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Workers there should be, by version."""
    queued: Mapping[str, int] = field(default_factory=dict)
    """Requests that no worker has taken yet, by version."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the frontend and of the workers; what they share is divided among them (PSS)."""


class Monitor:
    """An HTTP server in a thread; a failure of it is no failure of the service."""

    def __init__(
        self,
        address: str,
        counts: Path,
        snapshot: Callable[[], Snapshot],
        health: Callable[[], Snapshot],
    ) -> None:
        """
        Args:
            address: HOST:PORT to listen at.
            counts: folder of the workers' counts.
            snapshot: all of it.
            health: the same with ``ready`` and ``live`` alone, at once.

        Raises:
            OSError: it cannot listen there.
        """
        self._health = health
        self._registry = CollectorRegistry()
        self._registry.register(_Counts(counts))
        self._registry.register(_Gauges(snapshot))
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = answer(urlsplit(self.path).path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        url = urlsplit(f"http://{address}")
        host = url.hostname or ""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # who asked has gone, or asks again

        self._server = Server((host, url.port or 0), Handler)

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, type and body."""
        try:
            if path == "/metrics":
                return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
            if path in ("/ready", "/live"):
                good = getattr(self._health(), path[1:])
                body = json.dumps({path[1:]: good}).encode()
                return 200 if good else 503, "application/json", body
            return 404, "application/json", b'{"code": "not_found"}'
        except Exception as error:
            return 500, "text/plain", f"{type(error).__name__}: {error}\n".encode()


class _Counts(Collector):
    """What all workers counted. A file whose worker has ended is remembered here and removed, so
    that restarts leave none behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: dict[tuple[str, str], float] = defaultdict(float)
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        totals: dict[tuple[str, ...], float] = defaultdict(float)
        for (kind, key), count in self._sums().items():
            name, sample, labels, text = json.loads(key)
            family = families.setdefault(name, Metric(name, text, kind))
            bound = labels.get("le")
            if bound is None:
                family.add_sample(sample, labels, count)
                continue
            # A file counts each bucket by itself, Prometheus all up to a bound; bounds ascend.
            rest = {label: value for label, value in labels.items() if label != "le"}
            series = (name, *rest.values())
            totals[series] += count
            family.add_sample(sample, labels, totals[series])
            if bound == "+Inf":
                family.add_sample(f"{name}_count", rest, totals[series])
        return families.values()

    def _sums(self) -> dict[tuple[str, str], float]:
        """Of all files, by their kind of metric and key of series."""
        with self._lock:
            sums: dict[tuple[str, str], float] = defaultdict(float)
            for path in sorted(self._folder.glob("*_[0-9]*.db")):
                kind, pid = path.stem.rsplit("_", 1)
                ended = not _runs(int(pid))
                counts = list(_counts(path))
                with suppress(OSError):
                    if ended:
                        path.unlink()
                into = self._ended if ended and not path.exists() else sums
                for key, count in counts:
                    into[kind, key] += count
            for series, count in self._ended.items():
                sums[series] += count
            return sums


def _counts(path: Path) -> Iterator[tuple[str, float]]:
    """Series and their values, as far as the file is whole: its worker may have been killed, or be
    about to make it."""
    with suppress(OSError, RuntimeError, ValueError, struct.error):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            json.loads(key)
            yield key, value


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # no such process, or somebody else's, who got its number
        return False
    return True


class _Gauges(Collector):
    """What the supervisor knows."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        yield _gauge("workers", "Workers, by status.", now.workers, "version", "status")
        yield _gauge("workers_wanted", "Workers there should be.", now.wanted, "version")
        yield _gauge(
            "queued_requests", "Requests that no worker has taken yet.", now.queued, "version"
        )
        yield _gauge(
            "default_version",
            "1 for the version that answers requests that name none.",
            {now.default: 1} if now.default else {},
            "version",
        )
        yield _gauge(
            "memory_bytes",
            "Memory of the frontend and of all workers; what they share is divided among them.",
            now.memory,
            "process",
        )
        yield _gauge(
            "memory_limit_bytes", "Memory there is for them and all others.", {(): memory_limit()}
        )
        yield _gauge(
            "ready", "1 if a worker of the default version answered lately.", {(): now.ready}
        )
        yield CounterMetricFamily(
            "chest_xray_server_restarts",
            "Times that the supervisor started the server anew.",
            now.restarts,
        )


def _gauge(name: str, text: str, values: Mapping[Any, int], *labels: str) -> Metric:
    """``values`` by the value of the label, or by a tuple of those of all labels."""
    family = GaugeMetricFamily(f"chest_xray_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family
