"""Install the service on this machine: releases under /opt, state under /var/lib, units of systemd.

examples:
  sudo python3 scripts/install.py install
  sudo python3 scripts/install.py install --no-edge
  sudo python3 scripts/install.py rollback
  python3 scripts/install.py status
  sudo python3 scripts/install.py uninstall --purge
  python3 scripts/install.py install --root /tmp/tree --environment .venv

`install` makes a release of this tree, with an environment and an archive of its own, and switches
over to it; if it does not start, back again. Once more, it upgrades, or changes nothing if nothing
has changed. The release before is kept, and `rollback` switches to it. Settings go into
/etc/chest-xray/environment, which is kept. The command `chest-xray` runs the other scripts as the
service does: `sudo chest-xray keys create --name ward-7`.
Needs Python 3.10+ with venv; the edge needs nginx (Debian: apt install nginx-light).
exit status: 0 done, 1 it cannot be done, 2 wrong usage.
"""

import argparse
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USER = "chest-xray"
UNITS = ("chest-xray.service", "chest-xray-edge.service")
_SERVICE, _EDGE = UNITS
_PARTS = ("config", "handler", "model", "scripts", "requirements.txt")
_LEFT_OUT = ("__pycache__", "chest_xray_training", "protocols", "benchmark_peers")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= hides from the service."""
_ENVIRONMENT = """\
# Settings of the service and its edge: NAME=value, as in README.md.
#CHEST_XRAY_ALLOWED_HOSTS=pacs.local
#CHEST_XRAY_EDGE_LISTEN=0.0.0.0:443
#CHEST_XRAY_EDGE_CERTIFICATE=/etc/chest-xray/tls.pem
#CHEST_XRAY_EDGE_CERTIFICATE_KEY=/etc/chest-xray/tls.key
"""


class Refused(Exception):
    """It cannot be done; the message is for a person."""


class Installation:
    """Where everything lies, below a root that is not / for packages and tests."""

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

    def install(self, environment: Path | None, edge: bool) -> None:
        """Make this tree the release that runs.

        Args:
            environment: a virtual environment to use instead of installing one.
            edge: put nginx in front.
        """
        if self.live and not self.dry_run:
            _check_machine(environment, edge)
        if self.live:
            self._user()
        name = _digest()
        if not (self.releases / name / "complete").exists():
            self._make(self.releases / name, environment)
        if not self.settings.exists():
            self._write(self.settings, _ENVIRONMENT, mode=0o640)
        self._activate(name, edge)

    def rollback(self) -> None:
        """Switch back to the release before this one."""
        name = _link(self.previous)
        if not name or not (self.releases / name / "complete").exists():
            raise Refused("there is no release to go back to")
        self._activate(name, edge=(self.units / _EDGE).exists())

    def uninstall(self, purge: bool) -> None:
        """Take away all but settings and state, or with ``purge`` those and the user too."""
        if self.live:
            for unit in UNITS:
                with suppress(subprocess.CalledProcessError):
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
        """Have a release run, with its own units; if it does not start, the one before again."""
        now, previous = _link(self.current), _link(self.previous)
        changed = self._files(name, edge)
        if now != name:
            self._switch(name, now)
        if self.live:
            try:
                self._start(edge, anew=changed or now != name)
            except subprocess.CalledProcessError:
                reason = f"release {name} does not start; journalctl -u {_SERVICE} says why"
                if now in (None, name):
                    raise Refused(reason) from None
                self._files(now, edge)
                self._switch(now, previous)
                self._start(edge, anew=True)
                raise Refused(f"{reason}; {now} runs again") from None
        if now != name:
            for release in self.releases.glob("*"):
                if release.name not in (name, now):
                    self._remove(release)

    def _user(self) -> None:
        if not _has_user():
            self._run("useradd", "--system", "--user-group", "--home-dir", str(self.state),
                      "--no-create-home", "--shell", "/usr/sbin/nologin", USER)  # fmt: skip

    def _make(self, release: Path, environment: Path | None) -> None:
        self._say(f"release {release.name} of {ROOT}")
        if not self.dry_run:
            shutil.rmtree(release, ignore_errors=True)  # half of one
            for path in _files():
                target = release / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        self._environment(release, environment)
        # Into the release, and from there, by the unit, into the model store: so an archive is
        # rolled back with the release that it belongs to.
        python = str(release / ".venv" / "bin" / "python")
        self._run(python, str(release / "scripts" / "archive.py"))
        self._write(release / "complete", "")

    def _environment(self, release: Path, environment: Path | None) -> None:
        venv = release / ".venv"
        if environment:
            self._say(f"environment {environment}")
            if not self.dry_run:
                venv.symlink_to(environment.resolve())
            return
        self._run(sys.executable, "-m", "venv", str(venv))
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        self._run(*pip, "-r", str(release / "requirements.txt"))
        if not self.dry_run:
            [site] = venv.glob("lib/python*/site-packages")
            # Relative, so that a tree below another root can be moved.
            (site / "chest-xray.pth").write_text("../../../../handler\n../../../../model\n")

    def _files(self, name: str, edge: bool) -> bool:
        """Put a release's files for the system in place; whether any has changed."""
        release = self.releases / name
        made = (release / "complete").exists()  # not in a dry run
        source = (release if made else ROOT) / "config" / "systemd"
        wanted = {self.units / _SERVICE: 0o644, self.logrotate: 0o644, self.command: 0o755}
        if edge:
            wanted[self.units / _EDGE] = 0o644
        if self.live and shutil.which("nvidia-smi"):
            wanted[self.gpu] = 0o644
        origins = {self.logrotate: "logrotate", self.command: "command"}
        changed = [
            self._write(path, (source / origins.get(path, path.name)).read_text("utf-8"), mode)
            for path, mode in wanted.items()
        ]
        return any(changed)

    def _switch(self, name: str, previous: str | None) -> None:
        """At once: whoever looks finds the one or the other."""
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

    def _start(self, edge: bool, anew: bool) -> None:
        """Returns when the service is READY."""
        units = UNITS if edge else UNITS[:1]
        if anew:
            self._systemctl("daemon-reload")
            self._systemctl("enable", "--quiet", *units)
        elif all(_activity(unit) == "active" for unit in units):
            return
        self._systemctl("reset-failed", *units)
        self._systemctl("restart" if anew else "start", *units)

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
        self._say(f"away with {path}")
        if not self.dry_run:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _run(self, *command: str) -> None:
        self._say(" ".join(command))
        if not self.dry_run:
            subprocess.run(command, check=True, stdout=sys.stderr)

    def _say(self, text: str) -> None:
        print(("would: " if self.dry_run else "") + text, file=sys.stderr)


def _check_machine(environment: Path | None, edge: bool) -> None:
    """Before anything is changed."""
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise Refused("systemd does not run here; there is --root, and the container image")
    if edge and not shutil.which("nginx"):
        raise Refused("nginx is not installed (Debian: apt install nginx-light); or use --no-edge")
    python = (environment / "bin" / "python" if environment else Path(sys.executable)).resolve()
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


def _link(path: Path) -> str | None:
    """The release that a link names."""
    return path.readlink().name if path.is_symlink() else None


def _files() -> Iterator[Path]:
    """What a release is made of, in order."""
    for part in _PARTS:
        path = ROOT / part
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        for each in found:
            if each.is_file() and not set(each.relative_to(ROOT).parts) & set(_LEFT_OUT):
                yield each


def _digest() -> str:
    """A name that tells releases apart by what they hold."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def main() -> int:
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, default=Path("/"), help="install below this folder")
    common.add_argument("--dry-run", action="store_true", help="say what would be done")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = verbs.add_parser("install", help="install or upgrade", parents=[common])
    one.add_argument("--environment", type=Path, help="a virtual environment to use as it is")
    one.add_argument("--no-edge", action="store_true", help="the service alone")
    verbs.add_parser("rollback", help="back to the release before", parents=[common])
    verbs.add_parser("status", help="what is installed", parents=[common])
    one = verbs.add_parser("uninstall", help="take it away", parents=[common])
    one.add_argument("--purge", action="store_true", help="settings, state, keys and user too")
    args = top.parse_args()

    os.umask(0o022)  # the service, which is another user, reads what is installed here
    installation = Installation(args.root.resolve(), args.dry_run)
    try:
        if installation.live and args.verb != "status" and not args.dry_run and os.geteuid():
            raise Refused("that needs root")
        if args.verb == "install":
            installation.install(args.environment, edge=not args.no_edge)
        elif args.verb == "rollback":
            installation.rollback()
        elif args.verb == "uninstall":
            installation.uninstall(args.purge)
        print(json.dumps(installation.status()))
    except (Refused, OSError, subprocess.CalledProcessError) as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
