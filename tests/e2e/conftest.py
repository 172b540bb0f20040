"""Real servers on ports of their own."""

import importlib
import json
import re
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import ts
from grpc_tools import protoc

from chest_xray_versions import DEFAULT_VERSION
from support.server import RunningServer, start_server
from support.web import Alone, WebServer

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and it alone: pytest passes the items of all folders."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def _start(store: Path, web: WebServer) -> Iterator[Callable[..., RunningServer]]:
    """start_server for a test, or for the tests of a module, which may forget about stopping."""
    started: list[RunningServer] = []

    def starter(*arguments: Any, **environment: str) -> RunningServer:
        environment = {
            "TS_MODEL_STORE": str(store),
            "CHEST_XRAY_ALLOWED_HOSTS": web.host,
            "TS_DEFAULT_WORKERS_PER_MODEL": "2",  # half of the usual: they start sooner
            "CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION": "true",
            **environment,
        }
        started.append(start_server(*arguments, **environment))
        return started[-1]

    yield starter
    for one in started:
        one.stop(signal.SIGKILL)  # at once; whoever looks after it clears up


start = pytest.fixture(_start)
start_for_all = pytest.fixture(_start, scope="module")


@pytest.fixture(scope="session")
def server(
    store: Path, web: WebServer, alone: Alone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The committed weights, served with the committed configuration, trusting the web server; and
    with labels for drawn films, which the gate need not take for real ones."""
    running = start_server(
        tmp_path_factory.mktemp("run"),
        TS_MODEL_STORE=str(store),
        CHEST_XRAY_ALLOWED_HOSTS=web.host,
        CHEST_XRAY_ALLOWED_PORTS=str(alone.port),
        CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION="true",
    )
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture
def managed(server: RunningServer) -> Iterator[RunningServer]:
    """The shared server for a test that manages it; with its one version again afterwards."""
    yield server
    versions = {each.version: each for each in server.client.versions()}
    if not versions[DEFAULT_VERSION].default:
        server.client.set_default(DEFAULT_VERSION)
    for version in set(versions) - {DEFAULT_VERSION}:
        server.script("manage.py", "unregister", version, "--at-once")
    server.script("manage.py", "scale", str(max(2, versions[DEFAULT_VERSION].wanted)))


@pytest.fixture(scope="session")
def ask_grpc(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Predictions over gRPC, by a client generated from the .proto files TorchServe carries."""
    folder = tmp_path_factory.mktemp("grpc")
    with zipfile.ZipFile(Path(ts.__file__).parent / "frontend" / "model-server.jar") as jar:
        names = [n for n in jar.namelist() if re.fullmatch(r"inference\.proto|google/.*\.proto", n)]
        jar.extractall(folder, names)
    command = ["", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*command, str(folder / "inference.proto")]) == 0
    sys.path.insert(0, str(folder))
    messages = importlib.import_module("inference_pb2")
    stubs = importlib.import_module("inference_pb2_grpc")
    sys.path.remove(str(folder))
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.instance.grpc_inference, options) as channel:
        stub = stubs.InferenceAPIsServiceStub(channel)

        def ask(version: str = "", **fields: bytes) -> dict[str, Any]:
            request = messages.PredictionsRequest(
                model_name="chest-xray", model_version=version, input=fields
            )
            metadata = [("authorization", f"Bearer {server.instance.key('inference')}")]
            metadata = [("protocol", "gRPC"), ("session_id", "1"), *metadata]
            answer: dict[str, Any] = json.loads(
                stub.Predictions(request, metadata=metadata).prediction
            )
            return answer

        yield ask
