"""scripts/edge.py in front of a server, real or in its place, and what speaks with it."""

import base64
import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.torchserve.instance import Instance
from support.paths import ROOT
from support.processes import die_with_parent, free_ports

ORIGIN = "https://viewer.example.org"
"""Of a page that may ask."""
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


def secret_of(token):
    return base64.b64decode(token.removeprefix("cxr_")).decode().partition(":")[2]


def predict(edge, token, **headers):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png", **headers}
    return edge.ask("POST", "/predictions/chest-xray", headers=headers, data=b"x" * 1000)


@contextlib.contextmanager
def load(edge, token, film, callers=6, keep=True):
    """Callers that ask again and again meanwhile; gives their statuses, or what went wrong."""
    done, statuses = threading.Event(), []

    def ask():
        session = requests.Session()
        while not done.is_set():
            headers = {"Authorization": f"Bearer {token()}", "Content-Type": "image/png"}
            headers["Connection"] = "keep-alive" if keep else "close"
            try:
                answer = session.post(
                    f"{edge.url}/predictions/chest-xray",
                    headers=headers,
                    data=film,
                    verify=edge.certificate,
                    timeout=60,
                )
                statuses.append(answer.status_code)
            except requests.RequestException as error:
                statuses.append(repr(error))
        session.close()

    with ThreadPoolExecutor(callers) as executor:
        asked = [executor.submit(ask) for _ in range(callers)]
        try:
            yield statuses
        finally:
            done.set()
    for one in asked:
        one.result()
