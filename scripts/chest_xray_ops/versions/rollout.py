"""Changes the version that answers, and changes back, while callers are answered throughout."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from chest_xray.archive import Archive
from chest_xray.files import write_atomically
from chest_xray.settings import Settings
from chest_xray.worker.contract import is_busy, last_answer
from chest_xray_ops import golden
from chest_xray_ops.failure import Failure
from chest_xray_ops.torchserve.client import (
    ServerError,
    ServerUnreachable,
    TorchServeClient,
    Version,
)
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_ops.torchserve.state import State
from chest_xray_ops.versions.scaling import scale

_ANSWER_S = 30.0
"""Seconds within which a new version must answer a golden picture."""
_ROUNDS = 3  # so that every worker is reached: TorchServe chooses who answers
_QUIET_S = 1.0
_POLL_S = 0.05


class RolloutFailed(Failure):
    """The version that served before keeps serving; the message says why."""


class Rollout:
    """Changes what one server serves."""

    def __init__(
        self,
        client: TorchServeClient,
        instance: Instance,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            client: asks the server.
            instance: the same server.
            timeout_s: for workers to be READY, and for the old version to fall idle.
            say: is called with every step.
        """
        self._client, self._instance = client, instance
        self._timeout_s, self._say = timeout_s, say

    def out(self, path: Path, workers: int | None, keep: bool) -> list[Version]:
        """Load a new version next to the default one and, if its golden answers are right, make it
        the default.

        Args:
            path: a ``.mar`` file, or the name of one in the model store.
            workers: by default as many as the default version has.
            keep: leave the old version registered, with one worker, for a rollback and for callers
                who name it; otherwise remove it.

        Returns:
            The versions that are registered afterwards.

        Raises:
            RolloutFailed: the new version was refused, and nothing has changed.
        """
        try:
            archive = Archive.open(located(path, self._instance.model_store))
            version = archive.version
            cases = golden.read(archive)
        except (OSError, ValueError) as error:
            raise RolloutFailed(str(error)) from None
        old = self._default()
        if any(served.version == version for served in self._client.versions()):
            raise RolloutFailed(f"version {version} is already registered")
        workers = workers or old.wanted
        try:
            with stored(archive, self._instance.model_store) as name:
                self._say(f"loading {version} with {workers} workers")
                self._client.register(name, 1)
                self._client.wait_ready(1, version, timeout_s=self._timeout_s)
                self._take_over(version, workers, cases)
        except BaseException as error:
            with suppress(ServerError, ServerUnreachable):
                self._client.unregister(version)
            raise _failure(error, old.version) from error
        self._retire(old.version, keep)
        return self._remember(old.version if keep else "")

    def back(self) -> list[Version]:
        """Make the previous version the default again.

        Returns:
            The versions that are registered afterwards.

        Raises:
            RolloutFailed: no version was kept, or its golden answers are wrong.
        """
        now = self._default()
        state = State.load(self._instance)
        entry = state and state.entry(state.previous)
        if not entry:
            raise RolloutFailed("there is no previous version to go back to")
        try:
            cases = golden.read(Archive.open(self._instance.model_store / entry.archive))
            self._say(f"scaling {entry.version} to {now.wanted} workers")
            self._take_over(entry.version, now.wanted, cases)
        except BaseException as error:
            raise _failure(error, now.version) from error
        self._retire(now.version, keep=True)
        return self._remember(now.version)

    def drain(self, version: str) -> bool:
        """Wait until a version has had nothing queued or in progress for a moment; returns False if
        that did not happen in time."""
        scratch = self._instance.scratch
        start = quiet_since = time.monotonic()
        answered = last_answer(scratch, version)
        while time.monotonic() - start < self._timeout_s:
            queued = self._client.describe(version)["jobQueueStatus"]["pendingRequests"]
            before, answered = answered, last_answer(scratch, version)
            if queued or answered != before or is_busy(scratch, version):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _QUIET_S:
                return True
            time.sleep(_POLL_S)
        return False

    def check(self, version: str, workers: int, cases: Sequence[golden.Golden]) -> None:
        """Ask a version about the golden pictures, often enough to warm every worker.

        Raises:
            RolloutFailed: an answer is wrong or missing.
        """
        limit_s = min(_ANSWER_S, self._timeout_s)
        failed = Event()  # after the first fault nobody asks any more: the version may hang

        def fault(case: golden.Golden) -> str:
            if failed.is_set():
                return ""
            try:
                answer = self._client.predict(case.request, version, timeout_s=limit_s)
                wrong = case.fault(answer, version)
            except (ServerError, ServerUnreachable) as error:
                wrong = str(error)
            if wrong:
                failed.set()
            return wrong

        with ThreadPoolExecutor(2 * workers) as callers:
            for wrong in callers.map(fault, [*cases] * workers * _ROUNDS):
                if wrong:
                    raise RolloutFailed(f"{version} does not give its golden answers: {wrong}")

    def _take_over(self, version: str, workers: int, cases: Sequence[golden.Golden]) -> None:
        self._scale(workers, version)
        self._say(f"asking {version} about the golden pictures")
        self.check(version, workers, cases)
        self._client.set_default(version)
        self._say(f"{version} is the default version now")

    def _retire(self, version: str, keep: bool) -> None:
        """Scale down or remove the old version. The new one answers by now, so a failure is only
        reported, and nothing is undone."""
        self._say(f"draining {version}")
        if not self.drain(version):
            self._say(f"{version} is still asked for by name; it stays as it is")
        elif keep:
            self._scale(1, version)
        else:
            self._client.unregister(version)

    def _scale(self, workers: int, version: str) -> None:
        scale(self._client, self._instance, workers, version, timeout_s=self._timeout_s)

    def _default(self) -> Version:
        for each in self._client.versions():
            if each.default:
                return each
        raise RolloutFailed("no version is registered")

    def _remember(self, previous: str) -> list[Version]:
        versions = self._client.versions()
        State.of(versions, previous).save(self._instance)
        return versions


def located(archive: Path, store: Path) -> Path:
    """The path of an archive that was given by its path, or by its name in the model store."""
    in_store = archive.name == str(archive) and not archive.exists()
    return store / archive.name if in_store else archive


@contextmanager
def stored(archive: Archive, store: Path) -> Iterator[str]:
    """The file name of an archive in the model store: the archive is copied there if need be, and
    the copy is removed if the block fails.

    TorchServe registers by file name without any URL check, and keeps the file.

    Raises:
        ValueError: its settings are wrong, or the store has a different one of that name.
    """
    # Wrong ones would only be refused by the workers, at one start after another.
    Settings.packed_in(archive, {})
    target = store / archive.path.name
    data = archive.path.read_bytes()
    added = not target.exists()
    if added:
        write_atomically(target, data)
    elif target.read_bytes() != data:
        raise ValueError(f"{target} is a different archive; give the new one another file name")
    try:
        yield target.name
    except BaseException:
        if added:
            target.unlink(missing_ok=True)
        raise


def _failure(error: BaseException, serving: str) -> BaseException:
    """What to raise instead: an interrupt as it is, any error with what serves now."""
    if not isinstance(error, Exception):
        return error
    return RolloutFailed(f"{error}; {serving} keeps serving")
