"""The HTTP endpoints for monitoring a running service: /metrics, /ready and /live."""

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
    """The state of a service at one moment."""

    ready: bool
    """A worker of the default version answered a picture lately."""
    live: bool
    """The service is up or restarting; False once its supervisor gave up."""
    restarts: int = 0
    """How often the supervisor restarted the server."""
    default: str = ""
    """The default version; empty if the server cannot say."""
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The number of workers, by version and status."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """The number of workers that each version should have."""
    queued: Mapping[str, int] = field(default_factory=dict)
    """Requests that no worker has taken yet, by version."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the frontend and of the workers, as proportional set size: memory that processes
    share is divided among them."""


class Monitor:
    """An HTTP server in a thread. Its failures are answers with status 500 and leave the service
    alone."""

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
            snapshot: the whole state, for /metrics.
            health: ``ready`` and ``live`` without asking the server, for /ready and /live.

        Raises:
            OSError: the address cannot be listened at.
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
                pass  # the client has gone, or will ask again

        self._server = Server((host, url.port or 0), Handler)

    def start(self) -> None:
        """Start answering."""
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
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
    """The sums of what all workers counted. When a worker has ended, its file is added to sums that
    are kept here, and removed, so that restarts leave no files behind."""

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
        """Sums over all files, by kind of metric and key of series."""
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
    """Series and their values, as far as the file is complete: its worker may be creating it at the
    moment, or may have been killed."""
    with suppress(OSError, RuntimeError, ValueError, struct.error):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            json.loads(key)
            yield key, value


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # no such process, or the number is somebody else's by now
        return False
    return True


class _Gauges(Collector):
    """The state of the service, as the supervisor knows it."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        yield _gauge("workers", "Workers, by status.", now.workers, "version", "status")
        yield _gauge("workers_wanted", "Workers that there should be.", now.wanted, "version")
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
            "Memory of the frontend and of all workers; shared memory is divided among them.",
            now.memory,
            "process",
        )
        yield _gauge(
            "memory_limit_bytes",
            "Memory that they share with all other processes.",
            {(): memory_limit()},
        )
        yield _gauge(
            "ready", "1 if a worker of the default version answered lately.", {(): now.ready}
        )
        yield CounterMetricFamily(
            "chest_xray_server_restarts",
            "How often the supervisor restarted the server.",
            now.restarts,
        )


def _gauge(name: str, text: str, values: Mapping[Any, int], *labels: str) -> Metric:
    """A gauge; ``values`` are keyed by the label's value, or by a tuple of all labels' values."""
    family = GaugeMetricFamily(f"chest_xray_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family
