"""What can be told of the benchmark without measuring."""

import importlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmark_peers import report
from benchmark_peers.images import IMAGES, draw
from benchmark_peers.load import as_base64, as_url
from benchmark_peers.suites import PEERS
from chest_xray.dicom import decode_dicom
from chest_xray.image import sniff
from chest_xray.request import ImageUrl, InlineImage, parse_request
from support.paths import ROOT

MODULES = [*PEERS.values(), "torchserve_app"]


@pytest.mark.parametrize("name", MODULES)
def test_every_server_tells_the_driver_what_it_needs(name):
    """Without any of its packages, which are not installed here."""
    module = importlib.import_module(f"benchmark_peers.{name}")
    assert all("==" in each for each in module.REQUIREMENTS)
    assert module.PATH.startswith("/")
    headers, body = module.request(b"an image")
    assert body
    assert all(isinstance(value, str) for value in headers.values())


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_what_their_names_say(name):
    kind, side = name.split()
    data = draw(name)
    assert sniff(data) == kind
    if kind == "DICOM":
        gray = decode_dicom(data, 10**7).gray
    else:
        gray = np.asarray(Image.open(io.BytesIO(data)))
    assert gray.shape == (int(side), int(side))
    assert np.ptp(gray) > 80


def test_requests_are_ours():
    assert parse_request({"body": as_base64(b"bytes")[1]}).source == InlineImage(b"bytes")
    assert isinstance(parse_request({"body": as_url("http://h/f.jpg")[1]}).source, ImageUrl)


def test_report(tmp_path):
    machine = {"processor": "P", "cores": 2, "python": "3.11"}
    speed = {"p50_ms": 9.0, "p99_ms": 11.0, "failed": 0}
    suite = {"machine": machine, "rounds": 5, "seconds": 2.0, "workers": 2}
    servers = [
        {"server": "limit, ours code", "images_per_s": 600.0, "one_image_ms": 4.0},
        {"server": "ours", "callers": 1, "per_s": 111.0, **speed},
        {"server": "ours", "callers": 32, "per_s": 432.1, **speed, "failed": 3},
        {"server": "ours", "start_s": 3.0, "memory_mb": 1234.0},
    ]
    callers = [{"server": "ours", "callers": 4, "per_s": 222.0, **speed}]
    device = [
        {"server": "limit, ours code", "decoded_per_s": 900.0, "read_per_s": 47000.0},
        {**callers[0], "decode_ms": 2.5, "inference_ms": 3.5, "handler_ms": 6.5, "batch": 1.0},
    ]
    suites = {"servers": servers, "callers": callers, "device": device}
    known = {name: {**suite, "rows": rows} for name, rows in suites.items()}
    known["device"] = {**known["device"], "machine": {**machine, "gpu": "G"}}
    page = report.markdown(known)
    assert "| ours | 111 | 432 (3 failed) | 9.0 / 11.0 | 1234 | 3.0 |" in page
    assert "600 (no server)" in page
    assert "| ours | 4 | 222 | 9.0 | 11.0 |" in page
    assert "2 cores of P, G, Python 3.11" in page
    assert "| the network alone |  | 47000 |" in page
    assert "| ours | 4 | 222 | 9.0 | 2.5 | 3.5 | 6.5 | 1.0 |" in page
    report.plots(known, tmp_path)
    for name in ("servers", "callers"):
        with Image.open(tmp_path / f"{name}.png") as plot:
            assert plot.width > 300


def test_help_needs_nothing():
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "benchmark.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "wrk" in run.stdout
