"""Fixtures of every test: a synthetic film, a web server, a model store; and an orderly end."""

import os
import signal
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from chest_xray_handler import ChestXrayHandler
from chest_xray_ops import archive
from chest_xray_versions import DEFAULT_VERSION, weights_path
from support.films import draw_film, encode
from support.processes import die_with_parent
from support.torchserve_context import context_of
from support.web import Alone, WebServer, serve_web


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def pytest_configure() -> None:
    # No clock in a test: a busy machine must not fail one.
    settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("here")
    # A suite that is killed half-way leaves nothing behind: signals become an orderly end, in which
    # fixtures stop their servers, and the death of `make` becomes a signal. SIGINT is among them
    # since a shell script starts background jobs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if sys.platform == "linux" and os.getppid() != 1:
        die_with_parent()


@pytest.fixture(scope="session")
def film() -> bytes:
    """One synthetic film as PNG."""
    return encode(draw_film(1), "PNG")


@pytest.fixture(scope="session")
def web() -> Iterator[WebServer]:
    with serve_web() as server:
        yield server


@pytest.fixture(scope="session")
def alone() -> Iterator[Alone]:
    listener = Alone()
    yield listener
    listener.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store of the tests' own, with the archive of the default version."""
    folder = tmp_path_factory.mktemp("model-store")
    archive.build(DEFAULT_VERSION, weights_path(DEFAULT_VERSION), folder)
    return folder


@pytest.fixture(scope="session")
def unpacked(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the default version, as TorchServe unpacks it."""
    folder = tmp_path_factory.mktemp("model")
    with zipfile.ZipFile(store / f"chest-xray-{DEFAULT_VERSION}.mar") as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def handler(unpacked: Path) -> Iterator[ChestXrayHandler]:
    """TorchServe's class on that archive. Drawn films need not pass for real ones."""
    made = ChestXrayHandler()
    config = {"handler": {"answer_out_of_distribution": True}}
    made.initialize(context_of(unpacked, [], config=config))
    yield made
    made.classifier.close()
