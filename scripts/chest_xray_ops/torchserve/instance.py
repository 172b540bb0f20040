"""Where one running server is: its addresses, directory and keys; the same for it and its clients.

The addresses come from ``config/config.properties`` and the ``TS_…`` variables of the environment,
which TorchServe reads too. Each set of addresses has a directory of its own, so that several
servers run side by side on one machine.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chest_xray.archive import MODEL as MODEL
from chest_xray.files import write_atomically
from chest_xray_ops import places
from chest_xray_ops.settings import OperatorSettings, TorchServeSettings

_ABOUT = "instance.json"
_SCRATCH = "scratch"
_ADDRESSES = {
    "inference_address": "inference_url",
    "management_address": "management_url",
}


@dataclass(frozen=True)
class Instance:
    """One server, running or not."""

    inference_url: str
    management_url: str
    metrics_url: str
    """TorchServe's own metrics."""
    monitor_url: str
    """Our metrics, readiness and liveness."""
    grpc_inference: str
    grpc_management: str
    envelope: str
    """The form around every body (TorchServe's ``service_envelope``); empty if there is none."""
    model_store: Path
    directory: Path
    """Working directory: keys, logs, and ``instance.json`` while it runs."""

    @classmethod
    def from_environment(cls) -> "Instance":
        """The server that the settings describe.

        Raises:
            SettingError: one of them is wrong.
        """
        ours, theirs = OperatorSettings.from_environment(), TorchServeSettings.from_environment()
        inference = _reachable(theirs.inference_address)
        address = urlsplit(inference)
        runs = Path(ours.run_dir or places.RUNS)
        return cls(
            inference_url=inference,
            management_url=_reachable(theirs.management_address),
            metrics_url=_reachable(theirs.metrics_address),
            monitor_url=_reachable(f"http://{monitor_address()}"),
            grpc_inference=_dialled(theirs.grpc_inference_address, theirs.grpc_inference_port),
            grpc_management=_dialled(theirs.grpc_management_address, theirs.grpc_management_port),
            envelope=theirs.service_envelope,
            model_store=Path(theirs.model_store or places.MODEL_STORE).resolve(),
            directory=(runs / f"{address.hostname}-{address.port}").resolve(),
        )

    @classmethod
    def find(cls) -> "Instance":
        """The same for a client, which may know only the address that it talks to.

        A running server that has every address set in the environment is the one meant.
        """
        wanted = cls.from_environment()
        known = {
            key: getattr(wanted, key)
            for setting, key in _ADDRESSES.items()
            if TorchServeSettings.is_in_environment(setting)
        }
        for about in sorted(wanted.directory.parent.glob(f"*/{_ABOUT}")) if known else ():
            running = json.loads(about.read_text(encoding="utf-8"))
            if known.items() <= running.items():
                running["model_store"] = Path(running["model_store"])
                del running[_SCRATCH]
                return cls(**running, directory=about.parent)
        return wanted

    @property
    def key_file(self) -> Path:
        """Written by TorchServe at every start, mode 0600."""
        return self.directory / "key_file.json"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def key(self, kind: str) -> str | None:
        """The ``inference`` or ``management`` key; None if there is no key file."""
        try:
            keys = json.loads(self.key_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or being written
            return None
        found: str = keys[kind]["key"]
        return found

    @property
    def scratch(self) -> Path:
        """Temporary directory of its workers; raises FileNotFoundError if it does not run."""
        about = json.loads((self.directory / _ABOUT).read_text(encoding="utf-8"))
        return Path(about[_SCRATCH])

    def announce(self, scratch: Path) -> None:
        """Let clients find this server by any of its addresses."""
        about = {name: str(value) for name, value in vars(self).items() if name != "directory"}
        about[_SCRATCH] = str(scratch)
        write_atomically(self.directory / _ABOUT, json.dumps(about, indent=2))

    def withdraw(self) -> None:
        """The opposite of :meth:`announce`; the keys are void too."""
        (self.directory / _ABOUT).unlink(missing_ok=True)
        self.key_file.unlink(missing_ok=True)


def monitor_address() -> str:
    """Where the supervisor listens, as HOST:PORT."""
    metrics = urlsplit(TorchServeSettings.from_environment().metrics_address)
    chosen = OperatorSettings.from_environment().metrics_address
    return chosen or f"127.0.0.1:{(metrics.port or 80) + 1}"


def _reachable(address: str) -> str:
    """A listening address as a client on this machine dials it."""
    parts = urlsplit(address.rstrip("/"))
    host = "127.0.0.1" if parts.hostname in ("0.0.0.0", "localhost", "::") else parts.hostname
    host = f"[{host}]" if host and ":" in host else host  # IPv6
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}:{port}"


def _dialled(host: str, port: int) -> str:
    return f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
