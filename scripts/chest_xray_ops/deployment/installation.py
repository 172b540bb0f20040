"""The service on this machine: releases under /opt, state under /var/lib, units of systemd.

A release is an environment with the wheel of one tree in it, the archive that the tree builds, and
the files of config/systemd.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chest_xray_ops.deployment import environment
from chest_xray_ops.failure import Failure, Refused
from chest_xray_ops.places import ROOT

USER = "chest-xray"
UNITS = ("chest-xray.service", "chest-xray-edge.service")
_SERVICE, _EDGE = UNITS
_PARTS = ("config", "handler", "hatch_build.py", "model", "pyproject.toml", "requirements.txt",
          "requirements-gpu.txt", "scripts", "LICENSE", "NOTICE")  # fmt: skip
_LEFT_OUT = ("__pycache__", "benchmark_peers")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= hides from the service."""
_ENVIRONMENT = """\
# Settings of the service and its edge: NAME=value, as in docs/operate.md.
#CHEST_XRAY_ALLOWED_HOSTS=pacs.local
#CHEST_XRAY_EDGE_LISTEN=0.0.0.0:443
#CHEST_XRAY_EDGE_CERTIFICATE=/etc/chest-xray/tls.pem
#CHEST_XRAY_EDGE_CERTIFICATE_KEY=/etc/chest-xray/tls.key
"""


class Installation:
    """Where everything lies; below a root that is not / for packages and tests."""

    def __init__(self, root: Path, dry_run: bool) -> None:
        self.root, self.dry_run = root, dry_run
        self.live = root == Path("/")
        self.home = root / "opt" / USER
        self.releases = self.home / "releases"
        self.current = self.home / "current"
        self.previous = self.home / "previous"
        self.state = root / "var" / "lib" / USER
        self.settings = root / "etc" / USER / "environment"
        self.units = root / "etc" / "systemd" / "system"
        self.gpu = self.units / f"{_SERVICE}.d" / "gpu.conf"
        self.logrotate = root / "etc" / "logrotate.d" / USER
        self.command = root / "usr" / "local" / "bin" / USER

    def install(self, venv: Path | None, edge: bool) -> None:
        """Make this tree the release that runs.

        Args:
            venv: a virtual environment with the requirements in it, to copy instead of making one.
            edge: put nginx in front.

        Raises:
            Refused: this machine lacks something.
            Failure: a step failed.
        """
        self._check_root()
        if self.live and not self.dry_run:
            _check_machine(venv, edge)
        if self.live:
            self._user()
        name = _digest()
        if not (self.releases / name / "complete").exists():
            self._make(self.releases / name, venv)
        if not self.settings.exists():
            self._write(self.settings, _ENVIRONMENT, mode=0o640)
        self._activate(name, edge)

    def rollback(self) -> None:
        """Switch back to the release before this one."""
        self._check_root()
        name = _link(self.previous)
        if not name or not (self.releases / name / "complete").exists():
            raise Refused("there is no release to go back to")
        self._activate(name, edge=(self.units / _EDGE).exists())

    def uninstall(self, purge: bool) -> None:
        """Remove everything but settings and state, or with ``purge`` those and the user too."""
        self._check_root()
        if self.live:
            for unit in UNITS:
                with suppress(Failure):
                    self._systemctl("disable", "--now", unit)
        for unit in UNITS:
            self._remove(self.units / unit)
        for path in (self.gpu.parent, self.logrotate, self.command, self.home):
            self._remove(path)
        if purge:
            self._remove(self.settings.parent)
            self._remove(self.state)
        if self.live:
            self._systemctl("daemon-reload")
            if purge and _has_user():
                self._run("userdel", USER)

    def status(self) -> dict[str, object]:
        """What is installed."""
        found = sorted(path.parent.name for path in self.releases.glob("*/complete"))
        status = {"running": _link(self.current), "before": _link(self.previous), "releases": found}
        return status | ({"units": {unit: _activity(unit) for unit in UNITS}} if self.live else {})

    def _activate(self, name: str, edge: bool) -> None:
        """Run a release with its own units; if it does not start, run the one before again."""
        now, previous = _link(self.current), _link(self.previous)
        changed = self._files(name, edge)
        if now != name:
            self._switch(name, now)
        if self.live:
            try:
                self._start(edge, again=changed or now != name)
            except Failure:
                reason = f"release {name} does not start; journalctl -u {_SERVICE} says why"
                if now in (None, name):
                    raise Refused(reason) from None
                self._files(now, edge)
                self._switch(now, previous)
                self._start(edge, again=True)
                raise Refused(f"{reason}; {now} runs again") from None
        if now != name:
            for release in self.releases.glob("*"):
                if release.name not in (name, now):
                    self._remove(release)

    def _user(self) -> None:
        if not _has_user():
            self._run("useradd", "--system", "--user-group", "--home-dir", str(self.state),
                      "--no-create-home", "--shell", "/usr/sbin/nologin", USER)  # fmt: skip

    def _make(self, release: Path, venv: Path | None) -> None:
        self._say(f"release {release.name} of {ROOT}")
        if not self.dry_run:
            shutil.rmtree(release, ignore_errors=True)  # half of one
            release.mkdir(parents=True)
            shutil.copytree(ROOT / "config" / "systemd", release / "systemd")
        self._environment(release, venv)
        # Into the release, and from there, by the unit, into the model store: so an archive is
        # rolled back with the release that it belongs to.
        program = str(release / ".venv" / "bin" / USER)
        self._run(program, "archive", "--store", str(release / "model-store"))
        self._write(release / "complete", "")

    def _environment(self, release: Path, venv: Path | None) -> None:
        target = release / ".venv"
        self._say(f"environment {venv or target}")
        if self.dry_run:
            return
        if venv:
            shutil.copytree(venv, target, symlinks=True, copy_function=_link_or_copy)
        else:
            environment.make(target, ROOT / "requirements.txt")
        environment.install_project(target / "bin" / "python", ROOT)

    def _files(self, name: str, edge: bool) -> bool:
        """Put a release's files for the system in place; whether any has changed."""
        release = self.releases / name
        made = (release / "complete").exists()  # not in a dry run
        source = release / "systemd" if made else ROOT / "config" / "systemd"
        wanted = {self.units / _SERVICE: 0o644, self.logrotate: 0o644, self.command: 0o755}
        if edge:
            wanted[self.units / _EDGE] = 0o644
        if self.live and environment.has_gpu():
            wanted[self.gpu] = 0o644
        origins = {self.logrotate: "logrotate", self.command: "command"}
        changed = [
            self._write(path, (source / origins.get(path, path.name)).read_text("utf-8"), mode)
            for path, mode in wanted.items()
        ]
        return any(changed)

    def _switch(self, name: str, previous: str | None) -> None:
        """Atomically: whoever looks finds the one or the other."""
        self._say(f"current is {name}")
        if self.dry_run:
            return
        for link, release in ((self.current, name), (self.previous, previous)):
            partial = link.with_suffix(".new")
            partial.unlink(missing_ok=True)
            if release:
                partial.symlink_to(Path("releases") / release)
                partial.replace(link)
            else:
                link.unlink(missing_ok=True)

    def _start(self, edge: bool, again: bool) -> None:
        """Returns when the service is READY."""
        units = UNITS if edge else UNITS[:1]
        if again:
            self._systemctl("daemon-reload")
            self._systemctl("enable", "--quiet", *units)
        elif all(_activity(unit) == "active" for unit in units):
            return
        self._systemctl("reset-failed", *units)
        self._systemctl("restart" if again else "start", *units)

    def _systemctl(self, *arguments: str) -> None:
        self._run("systemctl", *arguments)

    def _write(self, path: Path, text: str, mode: int = 0o644) -> bool:
        """Whether that changed anything."""
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        self._say(f"file {path}")
        if not self.dry_run:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.new")
            partial.write_text(text, encoding="utf-8")
            partial.chmod(mode)
            partial.replace(path)
        return True

    def _remove(self, path: Path) -> None:
        if not path.exists() and not path.is_symlink():
            return
        self._say(f"remove {path}")
        if not self.dry_run:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _run(self, *command: str) -> None:
        self._say(" ".join(command))
        if self.dry_run:
            return
        status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        if status:
            raise Failure(f"{command[0]} failed with status {status}")

    def _say(self, text: str) -> None:
        print(("would: " if self.dry_run else "") + text, file=sys.stderr)

    def _check_root(self) -> None:
        if self.live and not self.dry_run and os.geteuid():
            raise Refused("that needs root")


def _check_machine(venv: Path | None, edge: bool) -> None:
    """Before anything is changed."""
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise Refused("systemd does not run here; use --root, or the container image")
    if edge and not shutil.which("nginx"):
        raise Refused("nginx is not installed (Debian: apt install nginx-light); or use --no-edge")
    python = (venv / "bin" / "python" if venv else Path(sys.executable)).resolve()
    if any(home in python.parents for home in _HOMES):
        raise Refused(f"{python} is in a home directory, which the service does not see")


def _has_user() -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(USER))
    return False


def _activity(unit: str) -> str:
    command = ["systemctl", "is-active", unit]
    with suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "unknown"


def _link_or_copy(source: str, target: str) -> str:
    """pip replaces files and never writes into them, so two environments can share them."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # on another file system
        shutil.copy2(source, target)
    return target


def _link(path: Path) -> str | None:
    """The release that a link names."""
    return path.readlink().name if path.is_symlink() else None


def _sources() -> Iterator[Path]:
    """What a release is made of, in order."""
    for part in _PARTS:
        path = ROOT / part
        for found in [path] if path.is_file() else sorted(path.rglob("*")):
            if found.is_file() and not set(found.relative_to(ROOT).parts) & set(_LEFT_OUT):
                yield found


def _digest() -> str:
    """A name that tells releases apart by what they are made of."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
