"""nginx in front of a real server, or of one in its place that fails as it is told to."""

import os

import pytest

from support.edge import ORIGIN, start_edge
from support.programs import required
from support.upstream import Upstream, give_key


@pytest.fixture(scope="session", autouse=True)
def nginx():
    """Without it these tests fail."""
    return required("nginx")


@pytest.fixture(scope="module")
def edge(server, tmp_path_factory):
    """With TLS, in front of the real server."""
    running = start_edge(
        server.environment,
        tmp_path_factory.mktemp("edge"),
        "--self-signed",
        cors_origins=ORIGIN,
        access_log="true",
        rate_per_s="1000",
        rate_burst="1000",
        keyless_original="true",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(edge):
    return edge.create()[1]


@pytest.fixture(scope="module")
def authorized(token):
    return {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}


@pytest.fixture
def upstream():
    running = Upstream()
    yield running
    running.close()


@pytest.fixture
def before(upstream, tmp_path):
    """Starts an edge before ``upstream``."""
    started = []

    def start(**settings):
        environment = {
            **os.environ,
            "CHEST_XRAY_RUN_DIR": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "TS_INFERENCE_ADDRESS": upstream.url,
            "CHEST_XRAY_METRICS_ADDRESS": "127.0.0.1:9",
        }
        host = upstream.url.removeprefix("http://").replace(":", "-")
        give_key(tmp_path / host, "first")
        started.append(start_edge(environment, tmp_path, **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()
