"""scripts/edge.py in front of a server, real or in its place, and what speaks with it."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.torchserve.instance import Instance
from support.paths import ROOT
from support.processes import die_with_parent, free_ports

needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"),
    reason="nginx is not installed",
)
HOUR = timedelta(hours=1)


@dataclass
class RunningEdge:
    """scripts/edge.py as a person starts it."""

    process: subprocess.Popen
    environment: dict
    instance: Instance
    port: int
    output: Path
    certificate: str | None = None
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self):
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    @property
    def keys(self):
        return Keys(self.instance.directory.parent / "keys.json")

    @property
    def errors(self):
        return self.output.with_suffix(".stderr").read_text()

    @property
    def configuration(self):
        return self.instance.directory / "edge" / "nginx.conf"

    def create(self, life=HOUR):
        """A key that the edge knows already; its id and what a caller sends."""
        key, token = self.keys.create("test", life)
        self.wait_for(lambda: key.id in self.callers.read_text())
        return key.id, token

    @property
    def callers(self):
        return self.instance.directory / "edge" / "callers"

    def processes(self):
        """nginx's: the child of edge.py and its children; with what they call themselves."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rsplit(")")[1].split()[1])
                    found[int(entry.name)] = parent, (entry / "cmdline").read_text()
        masters = {pid for pid, (parent, _) in found.items() if parent == self.process.pid}
        return {pid: name for pid, (parent, name) in found.items() if {pid, parent} & masters}

    def ask(self, method, path, **options):
        return self.session.request(
            method, self.url + path, verify=self.certificate, timeout=60, **options
        )

    def connect(self):
        """A raw connection, inside TLS where there is."""
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        if not self.certificate:
            return plain
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(plain, server_hostname="localhost")

    def say(self, *parts):
        """All that comes back for these bytes, until the edge closes or is silent for long."""
        with self.connect() as connection:
            connection.settimeout(1.5)
            answer = b""
            with contextlib.suppress(OSError):
                for part in parts:
                    connection.sendall(part)
            with contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    answer += data
        return answer

    def wait_for(self, condition, seconds=10):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.errors
            assert self.process.poll() is None, self.errors
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM):
        self.session.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


def start_edge(environment, folder, *arguments, **settings):
    """Start edge.py in front of the server that ``environment`` describes."""
    (port,) = free_ports(1)
    own = {f"CHEST_XRAY_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**environment, "CHEST_XRAY_EDGE_LISTEN": f"127.0.0.1:{port}", **own}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        instance = Instance.from_environment()
    output = folder / f"edge-{port}"
    with (
        output.with_suffix(".stdout").open("wb") as stdout,
        output.with_suffix(".stderr").open("wb") as stderr,
    ):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "edge.py"), *arguments],
            env=environment,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    edge = RunningEdge(process, environment, instance, port, output)
    edge.wait_for(lambda: output.with_suffix(".stdout").read_text())
    if "--self-signed" in arguments:
        edge.certificate = str(instance.directory / "edge" / "self-signed.pem")
    return edge


class Upstream:
    """In TorchServe's place: answers what it is told to, in TorchServe's words, and remembers what
    it was asked. Makes failures come in an order that a real one cannot be made to follow."""

    def __init__(self):
        self.answers = []
        """Statuses to come, then 200. 0 closes the connection, None does too, but late."""
        self.requests = []
        self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                upstream.requests.append((self.path, dict(self.headers), body))
                status = upstream.answers.pop(0) if upstream.answers else 200
                if status is None:
                    upstream.released.wait(30)
                if not status:
                    self.close_connection = True
                    return
                text = json.dumps(ANSWERS.get(status, {"label": "normal"}), indent=2).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status >= 400:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        upstream = self
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


ANSWERS = {
    500: {"code": 500, "type": "InternalServerException", "message": "Worker died."},
    507: {"code": 507, "type": "InternalServerException", "message": "Worker died."},
    503: {"code": 503, "type": "ServiceUnavailableException", "message": "no worker"},
    502: {"code": "upstream_failed", "type": "BadGateway", "message": "m"},
    504: {"code": "upstream_timeout", "type": "GatewayTimeout", "message": "m"},
    413: {"code": 413, "type": "RequestEntityTooLargeException", "message": "m"},
}


def give_key(directory, key):
    """As TorchServe writes its keys when it starts."""
    directory.mkdir(exist_ok=True)
    (directory / "key_file.json").write_text(json.dumps({"inference": {"key": key}}))


def secret_of(token):
    return base64.b64decode(token.removeprefix("cxr_")).decode().partition(":")[2]


def predict(edge, token, **headers):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png", **headers}
    return edge.ask("POST", "/predictions/chest-xray", headers=headers, data=b"x" * 1000)
