"""From one version to another, and back, while callers are answered throughout."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from chest_xray.files import write_atomically
from chest_xray.worker.contract import is_busy, last_answer
from chest_xray_ops import golden
from chest_xray_ops.archive import verify, version_of
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
"""In which a new version must answer a golden picture; one that hangs does not."""
_ROUNDS = 3  # so that no worker is left out: TorchServe chooses who answers
_QUIET_S = 1.0
_POLL_S = 0.05


class RolloutFailed(Exception):
    """The version that served before goes on serving; the message says why."""


class Rollout:
    """Changes what one server serves."""

    def __init__(
        self,
        client: TorchServeClient,
        instance: Instance,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        """``timeout_s``: for workers to be READY, and for the old version to fall idle."""
        self._client, self._instance = client, instance
        self._timeout_s, self._say = timeout_s, say

    def out(self, archive: Path, workers: int | None, keep: bool) -> list[Version]:
        """Bring a new version in beside the default one and, if it answers as it should, let it
        take over.

        Args:
            workers: by default as many as the default version has.
            keep: leave the old version registered, with one worker, for a rollback and for callers
                who name it; else remove it.

        Raises:
            RolloutFailed: nothing has changed.
        """
        archive = located(archive, self._instance.model_store)
        try:
            version = version_of(archive)
            cases = golden.read(archive)
        except (OSError, ValueError) as error:
            raise RolloutFailed(str(error)) from None
        old = self._default()
        if any(each.version == version for each in self._client.versions()):
            raise RolloutFailed(f"version {version} is registered already")
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
        """Let the version before this one take over again.

        Raises:
            RolloutFailed: there is none, or it does not answer as it should.
        """
        now = self._default()
        state = State.load(self._instance)
        entry = state and state.entry(state.previous)
        if not entry:
            raise RolloutFailed("no version is kept to go back to")
        try:
            cases = golden.read(self._instance.model_store / entry.archive)
            self._say(f"waking {entry.version} up to {now.wanted} workers")
            self._take_over(entry.version, now.wanted, cases)
        except BaseException as error:
            raise _failure(error, now.version) from error
        self._retire(now.version, keep=True)
        return self._remember(now.version)

    def drain(self, version: str) -> bool:
        """Wait until nothing of a version is queued or at work, nor was a moment ago; False if that
        never came."""
        scratch = self._instance.scratch
        start = quiet_since = time.monotonic()
        answered = last_answer(scratch, version)
        while time.monotonic() - start < self._timeout_s:
            queued = self._client.describe(version=version)["jobQueueStatus"]["pendingRequests"]
            before, answered = answered, last_answer(scratch, version)
            if queued or answered != before or is_busy(scratch, version):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _QUIET_S:
                return True
            time.sleep(_POLL_S)
        return False

    def check(self, version: str, workers: int, cases: Sequence[golden.Golden]) -> None:
        """Ask a version the golden pictures, often enough to warm every worker.

        Raises:
            RolloutFailed: an answer is wrong, or there is none.
        """

        limit_s = min(_ANSWER_S, self._timeout_s)
        failed = Event()  # the first fault ends it: nobody goes on asking a version that hangs

        def fault(case: golden.Golden) -> str:
            if failed.is_set():
                return ""
            try:
                answer = self._client.predict(case.request, version, timeout_s=limit_s)
                found = case.fault(answer, version)
            except (ServerError, ServerUnreachable) as error:
                found = str(error)
            if found:
                failed.set()
            return found

        with ThreadPoolExecutor(2 * workers) as callers:
            for found in callers.map(fault, [*cases] * workers * _ROUNDS):
                if found:
                    raise RolloutFailed(f"golden answers of {version} are not met: {found}")

    def _take_over(self, version: str, workers: int, cases: Sequence[golden.Golden]) -> None:
        self._scale(workers, version)
        self._say(f"asking {version} the golden pictures")
        self.check(version, workers, cases)
        self._client.set_default(version)
        self._say(f"{version} answers")

    def _retire(self, version: str, keep: bool) -> None:
        """The new version answers by now: what fails here is said, and nothing is undone."""
        self._say(f"draining {version}")
        if not self.drain(version):
            self._say(f"{version} is still asked by name: it stays as it is")
        elif keep:
            self._scale(1, version)
        else:
            self._client.unregister(version)

    def _scale(self, workers: int, version: str) -> None:
        scale(self._client, self._instance, workers, version, timeout_s=self._timeout_s)

    def _default(self) -> Version:
        return next(each for each in self._client.versions() if each.default)

    def _remember(self, previous: str) -> list[Version]:
        versions = self._client.versions()
        State.of(versions, previous).save(self._instance)
        return versions


def located(archive: Path, store: Path) -> Path:
    """An archive given as a path, or by the name that it has in the model store."""
    in_store = archive.name == str(archive) and not archive.exists()
    return store / archive.name if in_store else archive


@contextmanager
def stored(archive: Path, store: Path) -> Iterator[str]:
    """An archive's file name in the model store, copied there if need be, and taken away again if
    what is done with it fails.

    TorchServe registers by file name without any URL check, and keeps the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no archive, or another one has its name there.
    """
    archive = located(archive, store)
    verify(archive)
    target = store / archive.name
    data = archive.read_bytes()
    added = not target.exists()
    if added:
        write_atomically(target, data)
    elif target.read_bytes() != data:
        raise ValueError(f"{target} is another archive: give the new one another file name")
    try:
        yield archive.name
    except BaseException:
        if added:
            target.unlink(missing_ok=True)
        raise


def _failure(error: BaseException, serving: str) -> BaseException:
    """What to raise instead: an interrupt as it is, all else with the reassurance."""
    if not isinstance(error, Exception):
        return error
    return RolloutFailed(f"{error}; {serving} goes on serving")
