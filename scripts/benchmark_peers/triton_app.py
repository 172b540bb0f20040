"""NVIDIA Triton by PyTriton: its server takes HTTP and gathers batches, this process infers.

PyTriton's documented way to several instances is a list of callables, each of which it runs in a
thread of its own within this process. Images go by the V2 inference protocol with its extension for
binary tensors: a JSON header, and the encoded image after it. The answer holds two tensors,
``label`` and ``probability``, under ``outputs``.
"""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

REQUIREMENTS = ("nvidia-pytriton==0.7.0",)
MODEL = "chest-xray"
PATH = f"/v2/models/{MODEL}/infer"

BATCH_SIZE = 8
BATCH_WAIT_US = 5_000
STOP_S = 8.0
"""The driver kills us after 10."""


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: one tensor of one string, which the protocol has its length lead."""
    data = struct.pack("<I", len(image)) + image
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return headers, header + data


def make_callable() -> Any:
    """One instance: a callable that PyTriton gives one batch at a time."""
    import numpy as np
    from pytriton.decorators import batch

    from benchmark_peers import work

    code = work.from_environment()

    def infer(image: Any) -> dict[str, Any]:
        found = code.infer([code.decode(data) for data in image[:, 0]])
        return {
            "label": np.array([[each["label"].encode()] for each in found]),
            "probability": np.array([[each["probability"]] for each in found], np.float32),
        }

    return batch(infer)


def find_packages() -> None:
    """Help the server, which expects PyTriton in site-packages, with one from ``pip --target``.

    It is copied away from its libraries, and its Python, which has to be this one, ignores
    PYTHONPATH but looks into the working directory: it needs the NumPy of there, below 2.
    """
    import pytriton

    folder = Path(pytriton.__file__).parents[1]
    libraries = (str(folder / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(libraries)
    os.chdir(folder)


def serve(folder: Path) -> None:
    """Run the server, with its files in ``folder``, until this program is told to stop."""
    find_packages()

    import numpy as np
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["PORT"]),
        allow_grpc=False,
        allow_metrics=False,
        exit_timeout_secs=5,
    )
    with Triton(config=config, workspace=folder / "workspace") as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=[make_callable() for _ in range(int(os.environ["WORKERS"]))],
            inputs=[Tensor(name="image", dtype=np.bytes_, shape=(1,))],
            outputs=[
                Tensor(name="label", dtype=np.bytes_, shape=(1,)),
                Tensor(name="probability", dtype=np.float32, shape=(1,)),
            ],
            config=ModelConfig(
                max_batch_size=BATCH_SIZE,
                batcher=DynamicBatcher(max_queue_delay_microseconds=BATCH_WAIT_US),
            ),
        )
        triton.serve()


def _stop(server: subprocess.Popen[bytes]) -> None:
    """In order, since only then the server removes its own temporary folders; then by force."""
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _on_term(signum: int, frame: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGTERM, _on_term)
    if len(sys.argv) > 1:
        serve(Path(sys.argv[1]))
        return
    folder = tempfile.mkdtemp(prefix="triton-")
    # A session of its own: the driver's SIGTERM would reach all of the server's processes at once,
    # and it could not end them in order.
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmark_peers.triton_app", folder], start_new_session=True
    )
    try:
        sys.exit(server.wait())
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
