"""Build the container image, run it as its own user and ask it for one prediction.

examples:
  python3 scripts/prove_image.py
  python3 scripts/prove_image.py --base localhost/debian-python --pip-cert /etc/ssl/certs/ca.crt

Uses docker, or buildah where there is no Docker daemon. Needs nothing but Python.
exit status: 0 it answered, 1 it did not, 2 wrong usage.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "chest-xray"
URL = "http://127.0.0.1:8080/predictions/chest-xray"
HEALTH = ["/opt/venv/bin/python", "scripts/manage.py", "ready", "--json"]
_BUILDAH = ["--isolation", "chroot"]  # needs neither a daemon nor namespaces
_READY_TIMEOUT_S = 120


def build(engine: str, args: argparse.Namespace) -> None:
    options = ["--build-arg", f"DEVICE={args.device}"]
    if args.base:
        options += ["--build-arg", f"BASE={args.base}"]
    if args.torch_index:
        options += ["--build-arg", f"TORCH_INDEX={args.torch_index}"]
    if args.pip_cert:
        options += ["--build-arg", "PIP_CERT=/tmp/pip-cert.crt"]
    if engine == "docker":
        command = ["docker", "build", "--tag", IMAGE, *options, str(ROOT)]
    else:
        if args.pip_cert:
            options += ["--volume", f"{args.pip_cert}:/tmp/pip-cert.crt:ro"]
        # The docker format, since OCI images have no health check.
        options += ["--format", "docker", "--network", "host", *_BUILDAH]
        command = ["buildah", "bud", "--tag", IMAGE, *options, str(ROOT)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def run(engine: str) -> tuple[subprocess.Popen[str], Callable[[list[str]], list[str]]]:
    """The running service, and how a command is run beside it."""
    if engine == "docker":
        command = ["docker", "run", "--rm", "--name", IMAGE, "--publish", "127.0.0.1:8080:8080"]
        command += ["--read-only", "--tmpfs", "/tmp", IMAGE]
        beside = ["docker", "exec", IMAGE]
    else:
        container = _output(["buildah", "from", IMAGE])
        # buildah run does not read an image's entry point.
        config = json.loads(_output(["buildah", "inspect", "--type", "image", IMAGE]))
        entry = config["Docker"]["config"]["Entrypoint"]
        beside = ["buildah", "run", "--network", "host", *_BUILDAH, container, "--"]
        command = [*beside, *entry]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, start_new_session=True
    )
    return process, lambda more: [*beside, *more]


def film() -> bytes:
    """A grey PNG of 64 x 64 pixels, by hand: this script needs no packages."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    lines = b"".join(b"\0" + bytes((x * y) % 256 for x in range(64)) for y in range(64))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def ask(
    process: subprocess.Popen[str], beside: Callable[[list[str]], list[str]]
) -> dict[str, object]:
    """Wait for the banner, then health, user and one prediction."""
    assert process.stdout
    start = time.monotonic()
    token = ""
    for line in process.stdout:
        print(line, end="", file=sys.stderr)
        if match := re.search(r"Bearer (\S+)'", line):
            token = match.group(1)
        if "Ctrl-C" in line:
            break
        if time.monotonic() - start > _READY_TIMEOUT_S:
            break
    ready_s = time.monotonic() - start
    health = json.loads(_output(beside(HEALTH)))
    user = _output(beside(["id", "-u"]))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    # What is drawn here is no film, and would get no label.
    body = {"data": base64.b64encode(film()).decode(), "allowOutOfDistribution": True}
    request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        prediction = json.load(answer)
    return {"ready_s": round(ready_s, 1), "health": health, "uid": user, "prediction": prediction}


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--engine", choices=("docker", "buildah"))
    arguments.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    arguments.add_argument("--base", help="base image with Python 3.10+ (default: python slim)")
    arguments.add_argument("--torch-index", help="package index of torch builds without CUDA")
    arguments.add_argument("--pip-cert", help="certificate that pip must trust while building")
    args = arguments.parse_args()
    daemon = (
        shutil.which("docker")
        and not subprocess.run(["docker", "info"], capture_output=True).returncode
    )
    engine = args.engine or ("docker" if daemon else "buildah")
    if not shutil.which(engine):
        arguments.error("neither a Docker daemon nor buildah is here")
    build(engine, args)
    process, beside = run(engine)
    try:
        result = ask(process, beside)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    print(json.dumps({"engine": engine, "device": args.device, **result}, indent=2))
    return 0 if result["uid"] != "0" and "label" in dict(result["prediction"]) else 1  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
