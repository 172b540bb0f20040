"""A real TorchServe, started by scripts/serve.py on free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chest_xray_ops.torchserve.client import TorchServeClient
from chest_xray_ops.torchserve.instance import Instance
from support.paths import ROOT
from support.processes import die_with_parent, free_ports
from support.waiting import wait_until


@dataclass
class RunningServer:
    """scripts/serve.py as a person starts it, on ports of its own."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    instance: Instance
    output: Path

    @property
    def banner(self) -> str:
        """What it has printed for people."""
        return self.output.with_suffix(".stdout").read_text()

    @property
    def errors(self) -> str:
        """What it has printed about failing."""
        return self.output.with_suffix(".stderr").read_text()

    @property
    def client(self) -> TorchServeClient:
        return TorchServeClient.of(self.instance)

    @property
    def url(self) -> str:
        return f"{self.instance.inference_url}/predictions/chest-xray"

    @property
    def headers(self) -> dict[str, str]:
        key = self.instance.key("inference")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of scripts/ as a client of this server."""
        name, *rest = arguments
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *rest],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def processes(self) -> dict[int, bytes]:
        """Command lines of all its processes, told by the run directory in their environment."""
        mark = f"CHEST_XRAY_RUN_DIR={self.instance.directory.parent}\0"
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes().decode(errors="replace")
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                except OSError:
                    continue
                if mark in environment and state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes()
        return found

    def pids(self, kind: bytes) -> list[int]:
        """Of its processes with this in their command line."""
        return [pid for pid, command in self.processes().items() if kind in command]

    def table(self) -> dict[str, dict[str, Any]]:
        """`manage.py list`, by version."""
        rows = json.loads(self.script("manage.py", "list", "--json").stdout)
        return {row["version"]: row for row in rows}

    def wait_ready(self, timeout_s: float = 120) -> None:
        """Wait for the end of the banner."""
        deadline = time.monotonic() + timeout_s
        while "Ctrl-C" not in self.banner:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.05)
        assert "is READY" in self.banner

    def is_whole(self, without: int) -> bool:
        """Whether all workers are READY and this process, just killed, is none of them: TorchServe
        takes a moment to notice."""
        now = self.client.describe()
        there = [worker["pid"] for worker in now["workers"] if worker["status"] == "READY"]
        return len(there) == now["minWorkers"] and without not in there

    def wait_whole(self, without: int, timeout_s: float = 60) -> None:
        wait_until(lambda: self.is_whole(without), timeout_s)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(30)


def start_server(
    run_dir: Path,
    serve: Sequence[str] = (sys.executable, str(ROOT / "scripts" / "serve.py")),
    **environment: str,
) -> RunningServer:
    """Run the command ``serve``; the caller waits for the server and stops it."""
    inference, management, metrics, grpc_inference, grpc_management, ours = free_ports(6)
    own = {
        "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{inference}",
        "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{management}",
        "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
        "TS_GRPC_INFERENCE_PORT": str(grpc_inference),
        "TS_GRPC_MANAGEMENT_PORT": str(grpc_management),
        "CHEST_XRAY_METRICS_ADDRESS": f"127.0.0.1:{ours}",
        "CHEST_XRAY_RUN_DIR": str(run_dir),
        **environment,
    }
    everything = {**os.environ, **own}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        instance = Instance.from_environment()
    output = run_dir / f"serve-{inference}"
    with (
        output.with_suffix(".stdout").open("wb") as stdout,
        output.with_suffix(".stderr").open("wb") as stderr,
    ):
        process = subprocess.Popen(
            serve,
            env=everything,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    return RunningServer(process, everything, instance, output)
