"""Builds the container image, runs it as its own user and asks it for one prediction."""

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
from typing import Any

from chest_xray_ops.failure import Failure, Refused
from chest_xray_ops.places import ROOT

IMAGE = "chest-xray"
URL = "http://127.0.0.1:8080/predictions/chest-xray"
HEALTH = ["chest-xray", "ready", "--json"]
_BUILDAH = ["--isolation", "chroot"]  # needs neither a daemon nor namespaces
_READY_TIMEOUT_S = 120


def prove(args: argparse.Namespace) -> dict[str, Any]:
    """Build the image, run it and ask it.

    Returns:
        How long it took to be READY, its health, its user and a prediction.

    Raises:
        Refused: neither docker nor buildah is here.
        Failure: the image cannot be built, or it does not answer.
    """
    engine = args.engine or _engine()
    if not shutil.which(engine):
        raise Refused("there is neither a Docker daemon nor buildah")
    try:
        _build(engine, args)
        process, inside = _start(engine)
        try:
            result = _ask(process, inside)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    except subprocess.CalledProcessError as error:
        raise Failure(f"{error.cmd[0]} failed with status {error.returncode}") from None
    return {"engine": engine, "device": args.device, **result}


def _engine() -> str:
    daemon = (
        shutil.which("docker")
        and not subprocess.run(["docker", "info"], capture_output=True).returncode
    )
    return "docker" if daemon else "buildah"


def _build(engine: str, args: argparse.Namespace) -> None:
    options = ["--build-arg", f"DEVICE={args.device}"]
    if args.base:
        options += ["--build-arg", f"BASE={args.base}"]
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


def _start(engine: str) -> tuple[subprocess.Popen[str], Callable[[list[str]], list[str]]]:
    """The running service, and how a command is run in it."""
    if engine == "docker":
        command = ["docker", "run", "--rm", "--name", IMAGE, "--publish", "127.0.0.1:8080:8080"]
        command += ["--read-only", "--tmpfs", "/tmp", IMAGE]
        inside = ["docker", "exec", IMAGE]
    else:
        container = _output(["buildah", "from", IMAGE])
        # buildah run does not read an image's entry point.
        config = json.loads(_output(["buildah", "inspect", "--type", "image", IMAGE]))
        entry = config["Docker"]["config"]["Entrypoint"]
        inside = ["buildah", "run", "--network", "host", *_BUILDAH, container, "--"]
        command = [*inside, *entry]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, start_new_session=True
    )
    return process, lambda more: [*inside, *more]


def _film() -> bytes:
    """A grey PNG of 64 x 64 pixels, by hand, since this needs no packages."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    lines = b"".join(b"\0" + bytes((x * y) % 256 for x in range(64)) for y in range(64))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def _ask(
    process: subprocess.Popen[str], inside: Callable[[list[str]], list[str]]
) -> dict[str, Any]:
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
    health = json.loads(_output(inside(HEALTH)))
    user = _output(inside(["id", "-u"]))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    # What is drawn here is no film, and would get no label.
    body = {"data": base64.b64encode(_film()).decode(), "allowOutOfDistribution": True}
    request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        prediction = json.load(answer)
    return {"ready_s": round(ready_s, 1), "health": health, "uid": user, "prediction": prediction}


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
