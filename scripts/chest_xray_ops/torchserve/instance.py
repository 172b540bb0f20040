"""Where one running server is: its addresses, directory and keys; the same for it and its clients.

The addresses come from ``config/config.properties`` and the ``TS_…`` variables of the environment,
which TorchServe reads too. Each set of addresses has a directory of its own, so that several
servers run side by side from one clone.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chest_xray.archive import MODEL as MODEL
from chest_xray.files import write_atomically
from chest_xray_ops.cli import ROOT

MODEL_STORE = ROOT / "build" / "model-store"
"""Where archives are built and read from, unless TS_MODEL_STORE says otherwise."""
CONFIG = ROOT / "config" / "config.properties"
RUN_DIR_VARIABLE = "CHEST_XRAY_RUN_DIR"
MONITOR_VARIABLE = "CHEST_XRAY_METRICS_ADDRESS"
_ABOUT = "instance.json"
_SCRATCH = "scratch"
_ADDRESSES = {
    "TS_INFERENCE_ADDRESS": "inference_url",
    "TS_MANAGEMENT_ADDRESS": "management_url",
}


@dataclass(frozen=True)
class Instance:
    """One server, running or not."""

    inference_url: str
    management_url: str
    metrics_url: str
    """TorchServe's own metrics."""
    monitor_url: str
    """Our metrics, readiness and liveness: by default one port above those."""
    grpc_inference: str
    grpc_management: str
    envelope: str
    """The form around every body (TorchServe's ``service_envelope``); empty if there is none."""
    model_store: Path
    directory: Path
    """Working directory: keys, logs, and ``instance.json`` while it runs."""

    @classmethod
    def from_environment(cls) -> "Instance":
        """The server these variables describe."""
        inference = _reachable(_setting("inference_address"))
        address = urlsplit(inference)
        runs = Path(os.environ.get(RUN_DIR_VARIABLE) or ROOT / ".run")
        return cls(
            inference_url=inference,
            management_url=_reachable(_setting("management_address")),
            metrics_url=(metrics := _reachable(_setting("metrics_address"))),
            monitor_url=_reachable(f"http://{monitor_address(metrics)}"),
            grpc_inference=_grpc("inference"),
            grpc_management=_grpc("management"),
            envelope=_setting("service_envelope"),
            model_store=Path(_setting("model_store") or MODEL_STORE).resolve(),
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
            for variable, key in _ADDRESSES.items()
            if variable in os.environ
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


def monitor_address(metrics_url: str) -> str:
    """Where the supervisor listens, as HOST:PORT."""
    parts = urlsplit(metrics_url)
    return os.environ.get(MONITOR_VARIABLE) or f"127.0.0.1:{(parts.port or 80) + 1}"


def _setting(key: str) -> str:
    """A server setting as TorchServe will see it; empty if neither source has it."""
    if (value := os.environ.get(f"TS_{key.upper()}")) is not None:
        return value.strip()
    for line in CONFIG.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == key:
            return value.strip()
    return ""


def _reachable(address: str) -> str:
    """A listening address as a client on this machine dials it."""
    parts = urlsplit(address.rstrip("/"))
    host = "127.0.0.1" if parts.hostname in ("0.0.0.0", "localhost", "::") else parts.hostname
    host = f"[{host}]" if host and ":" in host else host  # IPv6
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}:{port}"


def _grpc(service: str) -> str:
    host = _setting(f"grpc_{service}_address")
    port = _setting(f"grpc_{service}_port")
    return f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
