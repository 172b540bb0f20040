"""Seldon MLServer: one process takes HTTP and gathers batches, its parallel workers infer.

Images go by the V2 inference protocol, the one form that MLServer batches: base64 in JSON. The
answer holds two tensors, ``label`` and ``probability``, under ``outputs``.
"""

import base64
import json
import os
import sys
import tempfile
from pathlib import Path

# MLServer's workers ask for the current event loop before there is one, which newer uvloops refuse;
# and torch wants a setuptools older than the one that MLServer's requirements draw in.
REQUIREMENTS = ("mlserver==1.7.1", "uvloop==0.21.0", "setuptools==81.0.0")
MODEL = "chest-xray"
PATH = f"/v2/models/{MODEL}/infer"

BATCH_SIZE = 8
BATCH_WAIT_S = 0.005


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: one tensor of one image, as MLServer's base64 content type has it."""
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(image).decode()],
    }
    return {"Content-Type": "application/json"}, json.dumps({"inputs": [tensor]}).encode()


def write_settings(folder: Path) -> None:
    """The two files that ``mlserver start`` reads."""
    server = {
        "host": "127.0.0.1",
        "http_port": int(os.environ["PORT"]),
        "grpc_port": 0,  # any: it cannot be turned off
        "metrics_endpoint": None,
        "debug": False,  # or each request is logged
        "parallel_workers": int(os.environ["WORKERS"]),
    }
    model = {
        "name": MODEL,
        "implementation": "benchmark_peers.mlserver_runtime.Classifier",
        "max_batch_size": BATCH_SIZE,
        "max_batch_time": BATCH_WAIT_S,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


def main() -> None:
    """Serve until killed; on SIGTERM MLServer ends its workers itself."""
    with tempfile.TemporaryDirectory(prefix="mlserver-") as folder:
        write_settings(Path(folder))
        os.chdir(folder)  # where MLServer would leave its own folders

        from mlserver.cli.main import root

        sys.argv = ["mlserver", "start", folder]
        root()


if __name__ == "__main__":
    main()
