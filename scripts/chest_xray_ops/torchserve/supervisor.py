"""Keeps one server answering: restores the versions that it served, probes it all the time, and
restarts it when no worker answers any more, which TorchServe itself never does."""

import os
import secrets
import shutil
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from chest_xray.archive import Archive
from chest_xray.settings import Settings
from chest_xray.worker.contract import (
    COUNTS_VARIABLE,
    PROBE_HEADER,
    PROBE_VARIABLE,
    last_answer,
)
from chest_xray_ops import golden
from chest_xray_ops.settings import OperatorSettings
from chest_xray_ops.torchserve.client import ServerError, ServerUnreachable, TorchServeClient
from chest_xray_ops.torchserve.instance import monitor_address
from chest_xray_ops.torchserve.monitor import Monitor, Snapshot
from chest_xray_ops.torchserve.server import Server, StartFailed
from chest_xray_ops.torchserve.state import Entry, State

_PROBE_EVERY_S = 2.0
_PROBE_S = 10.0
_SNAPSHOT_S = 3.0  # a scrape has 10 s
_LATELY_S = 15.0
"""How long a probe's answer counts for readiness, in seconds: probes wait in the same queue as all
requests."""
_RESTARTS = 3
"""The supervisor gives up at the next restart within ``_WITHIN_S``."""
_WITHIN_S = 300.0
_NEVER = float("-inf")


class Supervisor:
    """Starts one server, answers for its state, and restarts it. A context manager that runs the
    :class:`Monitor`."""

    def __init__(self, server: Server, plan: State, archive: Archive) -> None:
        """
        Args:
            server: is started and stopped.
            plan: what to serve at first.
            archive: of the plan's default version.

        Raises:
            SettingError: the workers would refuse their settings.
            ValueError: the archive has no golden answers.
        """
        self._server, self._plan = server, plan
        self._instance = server.instance
        self._password = secrets.token_hex(16)
        # Wrong ones would only be refused by every worker, after Java has started.
        Settings.packed_in(archive, os.environ)
        self._picture = golden.read(archive)[0]
        self._patience_s = OperatorSettings.from_environment().patience_s
        self._answered_at = _NEVER
        self._last, self._last_at = 0, 0.0
        self._restarts: deque[float] = deque()
        self._restart_count = 0
        self._gave_up = False
        self._counts = self._instance.directory / "counts"

    def __enter__(self) -> "Supervisor":
        shutil.rmtree(self._counts, ignore_errors=True)
        self._counts.mkdir(parents=True)
        address = monitor_address()
        try:
            self._monitor = Monitor(address, self._counts, self.snapshot, self.health)
        except OSError as error:
            raise StartFailed(f"{address}, where metrics go: {error.strerror}") from None
        self._monitor.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._monitor.stop()

    def start(self) -> dict[str, Any]:
        """Start the server with every version of the plan.

        Returns:
            TorchServe's description of the default version.

        Raises:
            StartFailed: the default version does not become READY. Another version that does not
                is skipped.
        """
        plan = self._plan
        entry = _default(plan)
        environment = {
            PROBE_VARIABLE: self._password,
            COUNTS_VARIABLE: str(self._counts),
        }
        self._server.start(entry.archive, entry.workers, environment)
        description = self._server.wait_ready()
        for other in plan.entries:
            if other is not entry:
                self._restore(other)
        self._answered_at = time.monotonic()
        _notify("READY=1")
        return description

    def keep_up(self) -> NoReturn:
        """Watch the server, and restart it whenever that is needed.

        Raises:
            StartFailed: it needed too many restarts within a short time.
        """
        while True:
            reason = self._watch()
            while True:
                self._answered_at = _NEVER
                self._count_restart(reason)
                print(f"serve: {reason}; restarting", file=sys.stderr, flush=True)
                self._plan = State.load(self._instance) or self._plan
                self._server.stop(at_once=True)
                try:
                    self.start()
                except StartFailed as error:
                    reason = str(error)
                else:
                    break

    def health(self) -> Snapshot:
        """Readiness and liveness, which are known without asking the server."""
        return Snapshot(
            ready=time.monotonic() - self._answered_at < _LATELY_S,
            live=not self._gave_up,
            restarts=self._restart_count,
        )

    def snapshot(self) -> Snapshot:
        """The state of the service; while the server is away, only what :meth:`health` knows."""
        health = self.health()
        try:
            versions = self._client(_SNAPSHOT_S).versions()
        except (ServerError, ServerUnreachable):
            return health
        workers = {
            (version.version, status): version.workers.count(status)
            for version in versions
            for status in ("READY", "UNLOADING")
        }
        return replace(
            health,
            default=next((version.version for version in versions if version.default), ""),
            workers=workers,
            wanted={version.version: version.wanted for version in versions},
            queued={version.version: version.queued for version in versions},
            memory=self._server.memory(),
        )

    def _watch(self) -> str:
        """Watch the server until it has to be restarted; returns the reason."""
        while True:
            if self._probe():
                self._answered_at = time.monotonic()
            elif (silent_s := self._silent_s()) > self._patience_s:
                return f"no worker has answered for {silent_s:.0f} s"
            _notify("WATCHDOG=1")
            if (status := self._server.ended(within_s=_PROBE_EVERY_S)) is not None:
                return f"the server ended with status {status}"

    def _probe(self) -> bool:
        """Whether a worker of the default version answers a golden picture."""
        try:
            self._client().predict(
                self._picture.request,
                timeout_s=min(_PROBE_S, self._patience_s),
                headers={PROBE_HEADER: self._password},
            )
        except (ServerError, ServerUnreachable):
            return False
        return True

    def _silent_s(self) -> float:
        """Seconds since a worker last answered a probe or a caller, by the monotonic clock."""
        now = time.monotonic()
        with suppress(OSError):
            last = last_answer(self._instance.scratch)
            if last != self._last:
                self._last, self._last_at = last, now
        return now - max(self._answered_at, self._last_at)

    def _restore(self, entry: Entry) -> None:
        """Register a version next to the default one, or skip it with a line on stderr."""
        client = self._client()
        try:
            client.register(entry.archive, entry.workers)
            client.wait_ready(entry.workers, entry.version)
        except (ServerError, ServerUnreachable, TimeoutError) as error:
            with suppress(ServerError, ServerUnreachable):
                client.unregister(entry.version)
            print(f"serve: skipped version {entry.version}: {error}", file=sys.stderr)

    def _count_restart(self, reason: str) -> None:
        """Count one restart more; raises StartFailed if there were too many lately."""
        now = time.monotonic()
        self._restarts.append(now)
        self._restart_count += 1
        while self._restarts[0] < now - _WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) > _RESTARTS:
            self._gave_up = True
            raise StartFailed(f"{reason}; gave up after {_RESTARTS} restarts")

    def _client(self, timeout_s: float | None = None) -> TorchServeClient:
        return TorchServeClient.of(self._instance, timeout_s)


def _default(plan: State) -> Entry:
    entry = plan.entry(plan.default)
    assert entry, "a plan holds its default version"
    return entry


def _notify(message: str) -> None:
    """Tell systemd, if it asked to be told (sd_notify(3))."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        address = "\0" + path[1:] if path.startswith("@") else path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as talk:
            talk.sendto(message.encode(), address)
