"""Run nginx in front of a server, until Ctrl-C: TLS, keys, limits, and repeats of what failed.

examples:
  python scripts/edge.py --self-signed
  CHEST_XRAY_EDGE_LISTEN=0.0.0.0:443 CHEST_XRAY_EDGE_CERTIFICATE=/etc/ssl/film.pem \\
  CHEST_XRAY_EDGE_CERTIFICATE_KEY=/etc/ssl/private/film.key python scripts/edge.py
  python scripts/edge.py --check
  python scripts/edge.py --render /run/chest-xray/nginx.conf

The server is found by the same TS_… variables that started it; settings are in config/edge.yaml.
Callers' keys (scripts/keys.py), TorchServe's own key and the certificate are taken over when they
change, while requests go on. SIGUSR1 opens the access log anew. --render writes the configuration
and what keys are checked against, mode 0600, for an nginx that something else runs; they are to be
written anew when any of those changed.
exit status: 0 stopped by a signal or done, 1 the start failed or nginx ended by itself.
"""

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chest_xray_ops.cli import parser
from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.torchserve.instance import CONFIG, MODEL, Instance

TEMPLATE = CONFIG.with_name("nginx.conf")
SETTINGS = CONFIG.with_name("edge.yaml")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Waited for, never handled: a handler's exception inside of subprocess would lose nginx."""
_TRIES = 3
_POLL_S = 0.1
"""How soon a key file that vanished stops requests: well before Java, which takes seconds, knows
other keys."""
_START_TIMEOUT_S = 10
_SELF_SIGNED_DAYS = "30"
_SOCKET_PATH = 100
"""Bytes of a socket's path, of 108, less the longest of our names."""


class EdgeFailed(Exception):
    """nginx does not run; the message is for a person."""


@dataclass
class Edge:
    """The edge of one server: its configuration, as a function of what it is made from."""

    settings: EdgeSettings
    instance: Instance
    keys: Keys
    sockets: Path
    """Folder of the sockets between the parts of nginx."""
    _upstream_key: str | None = None

    @property
    def directory(self) -> Path:
        return self.instance.directory / "edge"

    @property
    def callers_file(self) -> Path:
        """What nginx checks keys against, at every request."""
        return self.directory / "callers"

    @property
    def urls(self) -> list[str]:
        scheme = "https" if self.settings.certificate else "http"
        return [f"{scheme}://{address}" for address in self.settings.listen]

    def render(self) -> str:
        """The whole configuration, with TorchServe's key in it."""
        settings = self.settings
        tls = bool(settings.certificate)
        names = settings.server_names
        values: dict[str, Any] = {
            **vars(settings),
            "model": MODEL,
            "directory": self.directory,
            "sockets": self.sockets,
            # Else nginx would start its workers as a user who may not open our sockets.
            "user": "user root;" if os.geteuid() == 0 else "",
            "access_log": f"{self.instance.logs}/edge.log line" if settings.access_log else "off",
            "other_hosts_misdirected": "1" if names else '""',
            "server_names": _lines(f'{name} "";' for name in names),
            "callers": self.callers_file,
            "realm_of_original": "off" if settings.keyless_original else MODEL,
            "cors_origins": _lines(f'"{origin}" "{origin}";' for origin in settings.cors_origins),
            "listen": _lines(
                f"listen {address}{' ssl http2' if tls else ''};" for address in settings.listen
            ),
            "tls": _lines(_tls(settings) if tls else ()),
            "hsts": "max-age=31536000" if tls else '""',
            # More than a body, since one that comes in chunks is kept with their marks.
            "body_memory": settings.max_body_bytes + settings.max_body_bytes // 4,
            "supervisor": urlsplit(self.instance.monitor_url).netloc,
            **self._torchserve(),
        }
        template = TEMPLATE.read_text(encoding="utf-8")
        return re.sub(r"\{\{(\w+)\}\}", lambda match: str(values[match[1]]), template)

    def callers(self) -> str:
        """Every key that is valid now, by id and hash."""
        now = datetime.now(timezone.utc)
        valid = [key for key in self.keys.read() if key.state(now) == "valid"]
        return "".join(f"{key.id}:{key.hash}\n" for key in valid)

    def write(self, configuration: Path) -> None:
        """Both as files that only we read."""
        if len(os.fsencode(self.sockets)) > _SOCKET_PATH:
            raise EdgeFailed(f"{self.sockets} is too long a path for sockets")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        _replace(self.callers_file, self.callers())
        _replace(configuration, self.render())

    def state(self) -> tuple[str, ...]:
        """Differs when nginx has to read its configuration or certificate anew."""
        files = (self.settings.certificate, self.settings.certificate_key)
        return (self.render(), *(_stamp(Path(file)) for file in files if file))

    def _torchserve(self) -> dict[str, str]:
        """Nobody while there is no key: the server is away and will come back with another."""
        key = self.instance.key("inference")
        if key is None and self.instance.key_file.exists():
            key = self._upstream_key  # the file is just being written
        self._upstream_key = key
        nobody = f"server unix:{self.sockets}/nobody.sock"
        tokens_off = os.environ.get("TS_DISABLE_TOKEN_AUTHORIZATION", "").lower() == "true"
        if not key and not tokens_off:
            return {"torchserve": f"{nobody};", "authorization": '""'}
        server = f"server {urlsplit(self.instance.inference_url).netloc} max_fails=0;"
        return {
            "torchserve": _lines([server] * _TRIES + [f"{nobody} backup;"]),
            "authorization": f'"Bearer {key}"' if key else '""',
        }


class Nginx:
    """A process of nginx that serves an edge."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._conf = edge.directory / "nginx.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""

    def check(self) -> str:
        """What nginx says against the configuration; empty if nothing."""
        self._edge.write(self._conf)
        run = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)
        return run.stderr if run.returncode else ""

    def start(self) -> None:
        """Returns when it listens; raises EdgeFailed if it does not come to that."""
        self._callers, self._state = self._edge.callers(), self._edge.state()
        if reason := self.check():
            raise EdgeFailed(reason)
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
            preexec_fn=_prepare,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(map(_listens, self._edge.settings.listen)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EdgeFailed("nginx does not listen")
            time.sleep(_POLL_S)

    def run(self) -> None:
        """Keep it up to date until a signal; raises EdgeFailed when it ends by itself."""
        assert self._process
        while True:
            got = signal.sigtimedwait(_SIGNALS, _POLL_S)
            if got and got.si_signo != signal.SIGUSR1:
                return
            if (status := self._process.poll()) is not None:
                raise EdgeFailed(f"nginx ended with status {status}")
            if got:
                self._process.send_signal(signal.SIGUSR1)  # it opens its log anew
            self._follow()

    def stop(self) -> None:
        """Let requests in progress have their answers, then end it."""
        if not self._process:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(self._edge.settings.answer_timeout_s + 1)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    def _follow(self) -> None:
        """Have nginx go on with what has changed, if anything has."""
        assert self._process
        problem = ""
        try:
            callers, state = self._edge.callers(), self._edge.state()
            if callers != self._callers:
                _replace(self._edge.callers_file, callers)
                self._callers = callers
            if state != self._state:
                self._edge.write(self._conf)
                self._process.send_signal(signal.SIGHUP)
                self._state = state
        except (EdgeFailed, ValueError, TypeError, KeyError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            if problem != self._problem:
                print(f"edge.py: goes on with what it had: {problem}", file=sys.stderr, flush=True)
        self._problem = problem

    def _command(self) -> list[str]:
        # Debian keeps it in a folder that is not in everyone's PATH.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        program = shutil.which("nginx", path=path)
        if not program:
            raise EdgeFailed("nginx is not installed")
        return [program, "-e", "stderr", "-p", str(self._edge.directory), "-c", str(self._conf)]


def self_signed(directory: Path) -> dict[str, Any]:
    """Settings with a certificate for trying things out, made by openssl."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "self-signed.pem", directory / "self-signed.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", _SELF_SIGNED_DAYS, "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)
    if run.returncode:
        raise EdgeFailed(f"openssl: {run.stderr}")
    return {"certificate": str(certificate), "certificate_key": str(key)}


def _tls(settings: EdgeSettings) -> list[str]:
    return [
        f"ssl_certificate {Path(settings.certificate).resolve()};",
        f"ssl_certificate_key {Path(settings.certificate_key).resolve()};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_cache shared:tls:2m;",
        "ssl_session_tickets off;",
    ]


def _replace(path: Path, text: str) -> None:
    """Write a file, mode 0600, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)


def _lines(lines: Any) -> str:
    return "\n        ".join(lines)


def _stamp(file: Path) -> str:
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
    """Have Linux end nginx when we die, by whatever cause; and let it have its signals."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _serve(edge: Edge) -> None:
    """Until a signal."""
    edge.directory.mkdir(parents=True, exist_ok=True)
    with (edge.directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EdgeFailed(f"an edge of {edge.instance.inference_url} runs already") from None
        lock.seek(0)
        if killed := lock.read():  # one that could not tidy up
            shutil.rmtree(killed, ignore_errors=True)
        lock.truncate(0)
        print(edge.sockets, end="", file=lock, flush=True)
        nginx = Nginx(edge)
        try:
            nginx.start()
            print(
                json.dumps({"edge": edge.urls, "server": edge.instance.inference_url}), flush=True
            )
            nginx.run()
        finally:
            nginx.stop()
            lock.truncate(0)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--settings", type=Path, default=SETTINGS, help="another YAML file")
    arguments.add_argument(
        "--self-signed", action="store_true", help="make a certificate for trying things out"
    )
    what = arguments.add_mutually_exclusive_group()
    what.add_argument("--render", type=Path, metavar="FILE", help="only write the configuration")
    what.add_argument("--check", action="store_true", help="only have nginx check it")
    args = arguments.parse_args()

    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        instance = Instance.find()
        chosen = self_signed(instance.directory / "edge") if args.self_signed else {}
        settings = EdgeSettings.load(args.settings, os.environ, **chosen)
        edge = Edge(settings, instance, Keys.of_this_place(), instance.directory / "edge")
        if args.render:
            edge.write(args.render)
            return 0
        # A socket's path has 108 bytes: not below the instance's folder.
        with tempfile.TemporaryDirectory(prefix="chest-xray-edge-") as sockets:
            edge.sockets = Path(sockets)
            if not args.check:
                _serve(edge)
            elif reason := Nginx(edge).check():
                raise EdgeFailed(reason)
    except (EdgeFailed, ValueError, OSError) as error:
        print(f"edge.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
