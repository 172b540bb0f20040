"""Install the service on this machine: releases under /opt, state under /var/lib, units of systemd.

examples:
  sudo python3 scripts/install.py install
  sudo python3 scripts/install.py install --no-edge
  sudo python3 scripts/install.py rollback
  python3 scripts/install.py status
  sudo python3 scripts/install.py uninstall --purge
  python3 scripts/install.py install --root /tmp/tree --environment .venv

`install` copies this tree as a release of its own, installs what it needs, builds its archives and
switches over to it; again, it upgrades, or changes nothing if nothing has changed. `rollback`
switches back to the release before. Settings go into /etc/chest-xray/environment, which is kept.
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
_PARTS = ("config", "handler", "model", "scripts", "requirements.txt")
_LEFT_OUT = ("__pycache__", "chest_xray_training", "protocols", "benchmark_peers")
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
        self.state = root / "var" / "lib" / USER
        self.settings = root / "etc" / USER / "environment"
        self.units = root / "etc" / "systemd" / "system"
        self.logrotate = root / "etc" / "logrotate.d" / USER

    def install(self, environment: Path | None, edge: bool) -> str:
        """Make this tree the release that runs; returns its name.

        Args:
            environment: a virtual environment to use instead of installing one.
            edge: put nginx in front.
        """
        name = _digest()
        release = self.releases / name
        if self.live:
            self._user()
        self._folders()
        if not (release / "complete").exists():
            self._say(f"release {name}")
            self._copy(release)
            self._environment(release, environment)
            self._build(release)
            self._write(release / "complete", "")
        changed = self._files(edge)
        before = self.running()
        if before != name:
            self._switch(name, before)
        if self.live and (changed or before != name):
            self._start(edge)
        return name

    def rollback(self) -> str:
        """Switch back to the release before this one; returns its name."""
        previous = self._previous()
        if not previous or not (self.releases / previous / "complete").exists():
            raise Refused("there is no release to go back to")
        self._switch(previous, self.running())
        if self.live:
            self._systemctl("restart", *self._enabled())
        return previous

    def uninstall(self, purge: bool) -> None:
        """Take away all but settings and state, or with ``purge`` those too."""
        if self.live:
            for unit in UNITS:
                with suppress(subprocess.CalledProcessError):
                    self._systemctl("disable", "--now", unit)
        for path in (*(self.units / unit for unit in UNITS), self.logrotate):
            self._remove(path)
        self._remove(self.home)
        if purge:
            self._remove(self.settings.parent)
            self._remove(self.state)
        if self.live:
            self._systemctl("daemon-reload")

    def status(self) -> dict[str, object]:
        """What is installed."""
        found = sorted(path.parent.name for path in self.releases.glob("*/complete"))
        return {"running": self.running(), "before": self._previous(), "releases": found}

    def running(self) -> str | None:
        """The release that `current` names."""
        return self.current.readlink().name if self.current.is_symlink() else None

    def _previous(self) -> str | None:
        with suppress(OSError):
            return (self.home / "previous").read_text(encoding="ascii").strip() or None
        return None

    def _user(self) -> None:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            self._run("useradd", "--system", "--home-dir", str(self.state), "--no-create-home",
                      "--shell", "/usr/sbin/nologin", USER)  # fmt: skip

    def _folders(self) -> None:
        for path, mode in ((self.releases, 0o755), (self.state, 0o750), (self.store, 0o750)):
            if not path.is_dir():
                self._say(f"folder {path}")
                if not self.dry_run:
                    path.mkdir(parents=True, exist_ok=True)
                    path.chmod(mode)
                    self._own(path)

    @property
    def store(self) -> Path:
        """The model store, which rollouts add to."""
        return self.state / "model-store"

    def _copy(self, release: Path) -> None:
        self._say(f"copy of {ROOT} to {release}")
        if self.dry_run:
            return
        shutil.rmtree(release, ignore_errors=True)
        for path in _files():
            target = release / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def _environment(self, release: Path, environment: Path | None) -> None:
        venv = release / ".venv"
        if environment:
            self._say(f"environment {environment}")
            if not self.dry_run:
                venv.symlink_to(environment.resolve())
            return
        self._run(sys.executable, "-m", "venv", str(venv))
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        self._run(*pip, "--no-cache-dir", "-r", str(release / "requirements.txt"))
        if not self.dry_run:
            [site] = venv.glob("lib/python*/site-packages")
            lines = f"{release}/handler\n{release}/model\n"
            (site / "chest-xray.pth").write_text(lines, encoding="utf-8")

    def _build(self, release: Path) -> None:
        python = str(release / ".venv" / "bin" / "python")
        self._run(python, str(release / "scripts" / "archive.py"), "--store", str(self.store))
        if not self.dry_run:
            for path in self.store.iterdir():
                self._own(path)

    def _files(self, edge: bool) -> bool:
        """Units, rotation and settings; whether any has changed."""
        source = ROOT / "config" / "systemd"
        wanted = {self.units / UNITS[0]: source / UNITS[0], self.logrotate: source / "logrotate"}
        if edge:
            wanted[self.units / UNITS[1]] = source / UNITS[1]
        changed = [
            self._write(target, origin.read_text(encoding="utf-8"))
            for target, origin in wanted.items()
        ]
        if not self.settings.exists():
            self._write(self.settings, _ENVIRONMENT, mode=0o640)
        return any(changed)

    def _switch(self, name: str, before: str | None) -> None:
        """At once: whoever looks finds the one or the other."""
        self._say(f"current is {name}")
        if self.dry_run:
            return
        partial = self.home / "current.new"
        partial.unlink(missing_ok=True)
        partial.symlink_to(Path("releases") / name)
        partial.replace(self.current)
        (self.home / "previous").write_text(f"{before or ''}\n", encoding="ascii")

    def _start(self, edge: bool) -> None:
        units = UNITS if edge else UNITS[:1]
        self._systemctl("daemon-reload")
        self._systemctl("enable", *units)
        self._systemctl("restart", *units)

    def _enabled(self) -> list[str]:
        return [unit for unit in UNITS if (self.units / unit).exists()]

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

    def _own(self, path: Path) -> None:
        if self.live:
            shutil.chown(path, USER, USER)

    def _run(self, *command: str) -> None:
        self._say(" ".join(command))
        if not self.dry_run:
            subprocess.run(command, check=True, stdout=sys.stderr)

    def _say(self, text: str) -> None:
        print(("would: " if self.dry_run else "") + text, file=sys.stderr)


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
    one.add_argument("--purge", action="store_true", help="settings, state and keys too")
    args = top.parse_args()

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
