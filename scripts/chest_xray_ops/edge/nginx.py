"""A process of nginx in front of a server, which follows what its configuration is made from."""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from chest_xray.files import write_atomically
from chest_xray_ops.edge.configuration import CALLERS, PAGES, callers, render
from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.edge.routes import ROUTES, Route
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.failure import Failure
from chest_xray_ops.places import CONFIG
from chest_xray_ops.settings import TorchServeSettings
from chest_xray_ops.torchserve.instance import Instance

SETTINGS = CONFIG / "edge.yaml"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Blocked and waited for, never handled: an exception that a handler raises inside of subprocess
would lose nginx."""
_POLL_S = 0.1
"""How soon requests stop after a key file has vanished: well before Java, which takes seconds, has
other keys."""
_START_TIMEOUT_S = 10
_SOCKET_PATH = 100
"""Longest path of the sockets' folder, in bytes: a socket's path has 108, and our names need 8."""


class EdgeFailed(Failure):
    """nginx does not run; the message is for a person."""


@dataclass
class Edge:
    """The edge of one server: what its configuration is made from, and the files that hold it."""

    settings: EdgeSettings
    instance: Instance
    keys: Keys
    sockets: Path
    """Folder of the sockets between the parts of nginx."""
    routes: tuple[Route, ...] = ROUTES
    pages: Path = PAGES
    _torchserve_key: str | None = None

    @property
    def directory(self) -> Path:
        return self.instance.directory / "edge"

    @property
    def callers_file(self) -> Path:
        return self.directory / CALLERS

    @property
    def urls(self) -> list[str]:
        scheme = "https" if self.settings.certificate else "http"
        return [f"{scheme}://{address}" for address in self.settings.listen]

    def configuration(self) -> str:
        """The whole configuration as of now, with TorchServe's key in it."""
        return render(
            self.settings,
            self.instance,
            directory=self.directory,
            sockets=self.sockets,
            authorization=self._authorization(),
            as_root=os.geteuid() == 0,
            routes=self.routes,
            pages=self.pages,
        )

    def callers(self) -> str:
        """The list of keys as of now."""
        return callers(self.keys.read(), datetime.now(timezone.utc))

    def write(self, configuration: Path) -> None:
        """Write configuration and list of keys as files that only their owner may read.

        Raises:
            EdgeFailed: the path of the sockets' folder is too long.
        """
        if len(os.fsencode(self.sockets)) > _SOCKET_PATH:
            raise EdgeFailed(f"{self.sockets} is too long a path for sockets")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self.write_callers()
        write_atomically(configuration, self.configuration(), mode=0o600)

    def write_callers(self) -> None:
        """Write the list of keys alone, which nginx takes over without a reload."""
        write_atomically(self.callers_file, self.callers(), mode=0o600)

    def state(self) -> tuple[str, ...]:
        """Differs when nginx has to read its configuration or certificate again."""
        files = (self.settings.certificate, self.settings.certificate_key)
        return (self.configuration(), *(_stamp(Path(file)) for file in files if file))

    def _authorization(self) -> str | None:
        """What TorchServe wants to see; None without a key: it is away, and will come back with
        another one."""
        key = self.instance.key("inference")
        if key is None and self.instance.key_file.exists():
            key = self._torchserve_key  # the file is being written at this moment
        self._torchserve_key = key
        if key:
            return f"Bearer {key}"
        tokens_off = TorchServeSettings.from_environment().disable_token_authorization
        return "" if tokens_off else None


class Nginx:
    """A process of nginx that serves an edge."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._conf = edge.directory / "nginx.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""

    def check(self) -> str:
        """What nginx finds wrong with the configuration; empty if it is good."""
        self._edge.write(self._conf)
        run = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)
        return run.stderr if run.returncode else ""

    def start(self) -> None:
        """Start nginx and return when it listens.

        Raises:
            EdgeFailed: it does not start, or does not listen in time.
        """
        self._callers, self._state = self._edge.callers(), self._edge.state()
        if reason := self.check():
            raise EdgeFailed(reason)
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop nginx in order
            preexec_fn=_prepare,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(map(_listens, self._edge.settings.listen)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EdgeFailed("nginx does not listen")
            time.sleep(_POLL_S)

    def run(self) -> None:
        """Keep nginx up to date until a signal; SIGUSR1 has it open its log again.

        Raises:
            EdgeFailed: nginx ended by itself.
        """
        assert self._process
        while True:
            got = signal.sigtimedwait(SIGNALS, _POLL_S)
            if got and got.si_signo != signal.SIGUSR1:
                return
            if (status := self._process.poll()) is not None:
                raise EdgeFailed(f"nginx ended with status {status}")
            if got:
                self._process.send_signal(signal.SIGUSR1)
            self._follow()

    def stop(self) -> None:
        """Let requests in progress have their answers, then end nginx."""
        if not self._process:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(self._edge.settings.answer_timeout_s + 1)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    def _follow(self) -> None:
        """Have nginx take over what has changed, if anything has."""
        assert self._process
        problem = ""
        try:
            callers, state = self._edge.callers(), self._edge.state()
            if callers != self._callers:
                self._edge.write_callers()
                self._callers = callers
            if state != self._state:
                self._edge.write(self._conf)
                self._process.send_signal(signal.SIGHUP)
                self._state = state
        except (EdgeFailed, ValueError, TypeError, KeyError, OSError) as error:
            problem = f"still uses the previous configuration: {type(error).__name__}: {error}"
            if problem != self._problem:
                print(f"edge: {problem}", file=sys.stderr, flush=True)
        self._problem = problem

    def _command(self) -> list[str]:
        # Debian keeps nginx in a folder that is not in everyone's PATH.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        program = shutil.which("nginx", path=path)
        if not program:
            raise EdgeFailed("nginx is not installed")
        return [program, "-e", "stderr", "-p", str(self._edge.directory), "-c", str(self._conf)]


def serve(edge: Edge, started: Callable[[], None]) -> None:
    """Run nginx until a signal; the caller has blocked :data:`SIGNALS`.

    Args:
        edge: what is served.
        started: called when nginx listens.

    Raises:
        EdgeFailed: nginx does not start or ended by itself, or another edge serves this server.
    """
    with _only_one(edge):
        nginx = Nginx(edge)
        try:
            nginx.start()
            started()
            nginx.run()
        finally:
            nginx.stop()


@contextmanager
def _only_one(edge: Edge) -> Iterator[None]:
    """Hold the lock of this server's edge. It names the sockets' folder, so that the next edge
    removes it if this one is killed."""
    edge.directory.mkdir(parents=True, exist_ok=True)
    with (edge.directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EdgeFailed(f"an edge of {edge.instance.inference_url} already runs") from None
        lock.seek(0)
        if killed := lock.read():
            shutil.rmtree(killed, ignore_errors=True)
        lock.truncate(0)
        print(edge.sockets, end="", file=lock, flush=True)
        try:
            yield
        finally:
            lock.truncate(0)


def _stamp(file: Path) -> str:
    """Differs when a file was written again."""
    status = file.stat()
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host).strip("[]")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _prepare() -> None:
    """Have Linux end nginx when we die, whatever the cause, and let nginx receive its signals."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
