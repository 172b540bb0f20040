"""What every test shares: synthetic films, a web server, and a real TorchServe."""

import ctypes
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import ts
from grpc_tools import protoc
from hypothesis import HealthCheck, settings

from chest_xray_ops import archive
from chest_xray_ops.archive import VERSION
from chest_xray_ops.torchserve.client import TorchServeClient
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_versions import weights_path
from films import draw_film, encode

ROOT = Path(__file__).resolve().parent.parent


def die_with_parent() -> None:
    """Have Linux send this process SIGTERM when its parent dies, by whatever cause."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def pytest_configure() -> None:
    # No clock in a test: a busy machine must not fail one.
    settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("here")
    # A suite that is killed half-way leaves nothing behind: signals become an orderly end, in which
    # fixtures stop their servers, and the death of `make` becomes a signal. SIGINT is among them
    # since a shell script starts background jobs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if sys.platform == "linux" and os.getppid() != 1:
        die_with_parent()


@pytest.fixture(scope="session")
def film() -> bytes:
    """One synthetic film as PNG."""
    return encode(draw_film(1), "PNG")


@dataclass
class WebServer:
    """A real web server on loopback that answers what a test registered."""

    url: str
    host: str
    """As a setting names it."""
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)

    def add(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Answer ``path`` with this; returns its URL."""

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)

        self.pages[path] = page
        return self.url + path

    def add_drip(self, path: str, seconds: float) -> str:
        """Answer ``path`` with a byte every tenth of a second, for so long."""

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                request.wfile.write(b"\xff")
                time.sleep(0.1)

        self.pages[path] = page
        return self.url + path


@pytest.fixture(scope="session")
def web() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True  # as every caller asks
            page = server.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
                page(self)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # the default of 5 makes a burst of connections wait a second

    http = Server(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{http.server_port}"
    server = WebServer(f"http://{host}", host)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield server
    http.shutdown()
    http.server_close()


class Alone:
    """A listener on loopback that nobody may reach; counts who does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._listener.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="session")
def alone() -> Iterator[Alone]:
    listener = Alone()
    yield listener
    listener.close()


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


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class RunningServer:
    """scripts/serve.py as a person starts it, on ports of its own."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    instance: Instance
    output: Path

    @property
    def banner(self) -> str:
        """What it has printed for people."""
        return self.output.with_suffix(".stdout").read_text()

    @property
    def errors(self) -> str:
        """What it has printed about failing."""
        return self.output.with_suffix(".stderr").read_text()

    @property
    def client(self) -> TorchServeClient:
        return TorchServeClient.of(self.instance)

    @property
    def url(self) -> str:
        return f"{self.instance.inference_url}/predictions/chest-xray"

    @property
    def headers(self) -> dict[str, str]:
        key = self.instance.key("inference")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of scripts/ as a client of this server."""
        name, *rest = arguments
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *rest],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def processes(self) -> dict[int, bytes]:
        """Command lines of all its processes, told by the run directory in their environment."""
        mark = f"CHEST_XRAY_RUN_DIR={self.instance.directory.parent}\0"
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes().decode(errors="replace")
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                except OSError:
                    continue
                if mark in environment and state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes()
        return found

    def pids(self, kind: bytes) -> list[int]:
        """Of its processes with this in their command line."""
        return [pid for pid, command in self.processes().items() if kind in command]

    def table(self) -> dict[str, dict[str, Any]]:
        """`manage.py list`, by version."""
        rows = json.loads(self.script("manage.py", "list", "--json").stdout)
        return {row["version"]: row for row in rows}

    def wait_ready(self, timeout_s: float = 120) -> None:
        """Wait for the end of the banner."""
        deadline = time.monotonic() + timeout_s
        while "Ctrl-C" not in self.banner:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.05)
        assert "is READY" in self.banner

    def is_whole(self, without: int) -> bool:
        """Whether all workers are READY and this process, just killed, is none of them: TorchServe
        takes a moment to notice."""
        now = self.client.describe()
        there = [worker["pid"] for worker in now["workers"] if worker["status"] == "READY"]
        return len(there) == now["minWorkers"] and without not in there

    def wait_whole(self, without: int, timeout_s: float = 60) -> None:
        wait_until(lambda: self.is_whole(without), timeout_s)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(30)


def start_server(
    run_dir: Path, serve: Path = ROOT / "scripts" / "serve.py", **environment: str
) -> RunningServer:
    """Start serve.py; the caller waits for it and stops it."""
    inference, management, metrics, grpc_inference, grpc_management, ours = free_ports(6)
    own = {
        "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{inference}",
        "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{management}",
        "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
        "TS_GRPC_INFERENCE_PORT": str(grpc_inference),
        "TS_GRPC_MANAGEMENT_PORT": str(grpc_management),
        "CHEST_XRAY_METRICS_ADDRESS": f"127.0.0.1:{ours}",
        "CHEST_XRAY_RUN_DIR": str(run_dir),
        **environment,
    }
    everything = {**os.environ, **own}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        instance = Instance.from_environment()
    output = run_dir / f"serve-{inference}"
    with (
        output.with_suffix(".stdout").open("wb") as stdout,
        output.with_suffix(".stderr").open("wb") as stderr,
    ):
        process = subprocess.Popen(
            [sys.executable, str(serve)],
            env=everything,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    return RunningServer(process, everything, instance, output)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store of the tests' own, with the archive of the default version."""
    folder = tmp_path_factory.mktemp("model-store")
    archive.build(VERSION, weights_path(VERSION), folder)
    return folder


def _start(store: Path, web: WebServer) -> Iterator[Callable[..., RunningServer]]:
    """start_server for a test, or for the tests of a module, which may forget about stopping."""
    started: list[RunningServer] = []

    def starter(*arguments: Any, **environment: str) -> RunningServer:
        environment = {
            "TS_MODEL_STORE": str(store),
            "CHEST_XRAY_ALLOWED_HOSTS": web.host,
            "TS_DEFAULT_WORKERS_PER_MODEL": "2",  # half of the usual: they start sooner
            "CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION": "true",
            **environment,
        }
        started.append(start_server(*arguments, **environment))
        return started[-1]

    yield starter
    for one in started:
        one.stop(signal.SIGKILL)  # at once; whoever looks after it clears up


start = pytest.fixture(_start)
start_for_all = pytest.fixture(_start, scope="module")


@pytest.fixture(scope="session")
def server(
    store: Path, web: WebServer, alone: Alone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The committed weights, served with the committed configuration, trusting the web server; and
    with labels for drawn films, which the gate need not take for real ones."""
    running = start_server(
        tmp_path_factory.mktemp("run"),
        TS_MODEL_STORE=str(store),
        CHEST_XRAY_ALLOWED_HOSTS=web.host,
        CHEST_XRAY_ALLOWED_PORTS=str(alone.port),
        CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION="true",
    )
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture
def managed(server: RunningServer) -> Iterator[RunningServer]:
    """The shared server for a test that manages it; with its one version again afterwards."""
    yield server
    versions = {each.version: each for each in server.client.versions()}
    if not versions[VERSION].default:
        server.client.set_default(VERSION)
    for version in set(versions) - {VERSION}:
        server.script("manage.py", "unregister", version, "--at-once")
    server.script("manage.py", "scale", str(max(2, versions[VERSION].wanted)))


@pytest.fixture(scope="session")
def ask_grpc(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Predictions over gRPC, by a client generated from the .proto files TorchServe carries."""
    folder = tmp_path_factory.mktemp("grpc")
    with zipfile.ZipFile(Path(ts.__file__).parent / "frontend" / "model-server.jar") as jar:
        names = [n for n in jar.namelist() if re.fullmatch(r"inference\.proto|google/.*\.proto", n)]
        jar.extractall(folder, names)
    command = ["", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*command, str(folder / "inference.proto")]) == 0
    sys.path.insert(0, str(folder))
    messages = importlib.import_module("inference_pb2")
    stubs = importlib.import_module("inference_pb2_grpc")
    sys.path.remove(str(folder))
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.instance.grpc_inference, options) as channel:
        stub = stubs.InferenceAPIsServiceStub(channel)

        def ask(version: str = "", **fields: bytes) -> dict[str, Any]:
            request = messages.PredictionsRequest(
                model_name="chest-xray", model_version=version, input=fields
            )
            metadata = [("authorization", f"Bearer {server.instance.key('inference')}")]
            metadata = [("protocol", "gRPC"), ("session_id", "1"), *metadata]
            answer: dict[str, Any] = json.loads(
                stub.Predictions(request, metadata=metadata).prediction
            )
            return answer

        yield ask
