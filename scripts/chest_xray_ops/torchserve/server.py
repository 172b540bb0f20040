"""One TorchServe process and its workers: how they start, and how they end."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from chest_xray import machine
from chest_xray.machine import cores
from chest_xray_ops.failure import Failure
from chest_xray_ops.settings import TorchServeSettings
from chest_xray_ops.torchserve import java
from chest_xray_ops.torchserve.client import (
    ServerError,
    ServerUnreachable,
    TorchServeClient,
)
from chest_xray_ops.torchserve.instance import MODEL, Instance
from chest_xray_ops.torchserve.start_failure import explain

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that stop the server in order. SIGINT must be caught explicitly: shell scripts start
their background jobs with it ignored."""
_START_TIMEOUT_S = 180
_STOP_TIMEOUT_S = 5  # TorchServe itself takes about 3 s


class StartFailed(Failure):
    """The server did not start or cannot be kept up; the message is for a person."""


class Server:
    """One TorchServe process, its workers, and everything they leave behind."""

    def __init__(self, instance: Instance) -> None:
        """Raises StartFailed if this instance already runs, SettingError if a setting is wrong."""
        self._settings = TorchServeSettings.from_environment()
        self.instance = instance
        self.process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None
        self._guard: int | None = None
        self._late: tuple[str, int] | None = None
        directory = instance.directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock: TextIO = (directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(f"a server already runs at {instance.inference_url}") from None

    def start(self, archive: str, workers: int, environment: dict[str, str]) -> None:
        """Start Java, and return before it listens.

        Args:
            archive: file name in the model store of the version that answers by default.
            workers: the number of its workers.
            environment: more variables for Java and the workers, in addition to our own.
        """
        directory = self.instance.directory
        self.instance.withdraw()
        _set_aside(self.instance.logs)
        loads = {"TS_LOAD_MODELS": f"{MODEL}={archive}"}
        if TorchServeClient.of(self.instance).unbatched:
            self._late, loads = (archive, workers), {}
        # A short path, since the workers' sockets lie here and a socket's path has 108 bytes.
        self._scratch = Path(tempfile.mkdtemp(prefix="chest-xray-"))
        with (self.instance.logs / "java.log").open("wb") as output:
            self.process = subprocess.Popen(
                java.command(self._scratch, self.instance.model_store),
                cwd=directory,  # where TorchServe writes its keys
                env={
                    **loads,
                    **java.environment(self.instance, self._scratch),
                    "TS_DEFAULT_WORKERS_PER_MODEL": str(workers),
                    "TS_MAX_REQUEST_SIZE": str(self._settings.max_request_size),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
            )
        self._guard = _guard(self.process.pid, self._scratch)
        self.instance.announce(self._scratch)

    def wait_ready(self) -> dict[str, Any]:
        """Wait until all workers are READY; returns TorchServe's description of the model.

        Raises:
            StartFailed: they do not become READY; with the reason of the server or of a worker.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            self._check()
            with suppress(ServerUnreachable):  # not listening yet
                client = TorchServeClient.of(self.instance)
                try:
                    if self._late:
                        client.register(*self._late)
                        self._late = None
                    description = client.describe()
                except ServerError as error:
                    if error.status == 404:  # it listens only after it has read its archives
                        raise self._failure(f"{MODEL} could not be registered") from None
                    if error.type != "InvalidKeyException":  # the keys are being written
                        raise self._failure(str(error)) from None
                else:
                    workers = description["workers"]
                    if workers and all(worker["status"] == "READY" for worker in workers):
                        return description
            time.sleep(0.1)
        raise self._failure(f"not READY within {_START_TIMEOUT_S} s")

    def ended(self, within_s: float = 0) -> int | None:
        """Java's exit status if it has ended or ends within that time, else None."""
        assert self.process
        _reap(self.process.pid)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def memory(self) -> dict[str, int]:
        """Bytes of Java and of all its workers, as proportional set size."""
        sizes = {"frontend": 0, "workers": 0}
        if process := self.process:
            for entry in Path("/proc").iterdir():
                with suppress(OSError, ValueError, StopIteration):
                    if os.getpgid(int(entry.name)) == process.pid:
                        kind = "frontend" if int(entry.name) == process.pid else "workers"
                        sizes[kind] += _pss(entry)
        return sizes

    def stop(self, at_once: bool = False) -> None:
        """Stop Java and its workers, and remove their temporary files. It can be started again.

        Args:
            at_once: kill Java without letting it finish, since nobody is being answered.
        """
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(0 if at_once else _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # workers that outlived it
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        if self._guard is not None:
            os.close(self._guard)
        self.process = self._scratch = self._guard = None
        self.instance.withdraw()

    def _check(self) -> None:
        """Raises StartFailed if Java has ended or a worker gave up."""
        if (status := self.ended()) is not None:
            raise self._failure(f"the server ended with status {status}")
        if reason := explain(self.instance.logs, only_workers=True):
            # The log may still be filling, and the last line is the most telling one.
            while (later := self._later_reason()) != reason:
                reason = later
            raise StartFailed(f"a worker could not load the model:\n{reason}")

    def _later_reason(self) -> str:
        time.sleep(0.5)
        return explain(self.instance.logs, only_workers=True)

    def _failure(self, what: str) -> StartFailed:
        """What to raise: the message with what the logs say."""
        return StartFailed(f"{what}\n{explain(self.instance.logs)}".rstrip())


def default_workers() -> int:
    """The number of workers that a version starts with.

    It is one and a half times the cores, since some workers wait for images; more workers would
    make smaller batches. On a machine with GPUs it is one per two cores, the same number on each
    GPU: decoding takes far longer than the network does there, and beyond two threads a worker's
    threads only wait for each other.
    """
    if given := TorchServeSettings.from_environment().default_workers_per_model:
        return given
    if devices := gpus():
        return devices * max(1, cores() // 2 // devices)
    return cores() + max(1, cores() // 2)


def gpus() -> int:
    """The number of GPUs that TorchServe uses; it assigns its workers to them in turn."""
    wanted = TorchServeSettings.from_environment().number_of_gpu
    return machine.gpus() if wanted is None else min(machine.gpus(), wanted)


def _reap(java: int) -> None:
    """Reap children that have ended, except Java: as process 1 of a container we inherit what a
    killed worker had started."""
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == java:
                break
            os.waitpid(ended.si_pid, 0)


def _pss(process: Path) -> int:
    """Bytes of a process's proportional set size; its folder in /proc is given."""
    lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _set_aside(logs: Path) -> None:
    """Move the logs of the last start to ``previous``; the access log and the audit trail stay."""
    previous = logs / "previous"
    shutil.rmtree(previous, ignore_errors=True)
    previous.mkdir(parents=True)
    for path in logs.glob("*.log"):
        if path.name.startswith(("java", "server", "workers")):
            path.rename(previous / path.name)


def _guard(group: int, scratch: Path) -> int:
    """Fork a process that outlives us, even a kill -9, and then kills the server and cleans up.

    Args:
        group: the server's process group.
        scratch: the folder to remove.

    Returns:
        A file descriptor; the guard acts when it is closed.
    """
    ours, theirs = os.pipe()
    if os.fork():
        os.close(ours)
        return theirs  # open for as long as we live
    os.setsid()
    os.close(theirs)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    os.read(ours, 1)  # returns when our last copy of the other end is closed
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)
