"""What Kubernetes and compose ask of a server is answered as they take it."""

import re
import shlex
import subprocess
import sys
import time

import pytest
import requests
import yaml

from support.cluster import COMPOSE, hook, manifests, pod
from support.paths import ROOT
from support.waiting import wait_until


def here(command):
    """A command of the image, as it is run in this tree."""
    return re.sub(r"\bchest-xray (?=[a-z])", f"{sys.executable} -m chest_xray_ops ", command)


def probes():
    _, containers = pod(manifests())
    service = containers["service"]
    return {
        name: service[name]["httpGet"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }


def status(server, probe):
    try:
        return requests.get(server.instance.monitor_url + probe["path"], timeout=5).status_code
    except requests.ConnectionError:
        return None


def test_probes_mean_what_they_say(start, tmp_path):
    """While it starts, once it answers, and while its workers hang."""
    server = start(tmp_path, TS_DEFAULT_WORKERS_PER_MODEL="1")
    asked, seen = None, set()
    while "Ctrl-C" not in server.banner:
        assert server.process.poll() is None, server.errors
        before, asked = asked, tuple(status(server, each) for each in probes().values())
        if asked == before:  # else the server may have gone on between two of the questions
            seen.add(asked)
        time.sleep(0.1)
    assert (503, 503, 200) in seen
    assert seen <= {(None, None, None), (503, 503, 200), (200, 200, 200)}
    assert [status(server, each) for each in probes().values()] == [200, 200, 200]
    [worker] = server.pids(b"model_service_worker")
    subprocess.run(["kill", "-STOP", str(worker)], check=True)
    wait_until(lambda: status(server, probes()["readinessProbe"]) != 200, 40)
    assert status(server, probes()["livenessProbe"]) == 200  # the supervisor sees to it
    server.stop()
    assert status(server, probes()["livenessProbe"]) is None


def health_commands():
    """What the image, compose and the hooks run in a container of the service."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    [image] = re.findall(r"^ +CMD (\[.*\])$", dockerfile, re.MULTILINE)
    yield "image", shlex.join(yaml.safe_load(image))
    yield "compose", shlex.join(COMPOSE["services"]["service"]["healthcheck"]["test"][1:])
    _, containers = pod(manifests())
    yield "preStop", re.sub(r"sleep \d+", "sleep 0", hook(containers["service"]))


@pytest.mark.parametrize(("where", "command"), list(health_commands()), ids=lambda each: each[:8])
def test_commands_that_ask_a_server(server, where, command):
    for address, expected in ((None, {0}), ("http://127.0.0.1:9", {1, 3})):
        environment = dict(server.environment)
        if address:
            environment |= {"TS_INFERENCE_ADDRESS": address, "TS_MANAGEMENT_ADDRESS": address}
        run = subprocess.run(
            ["/bin/sh", "-c", here(command)], env=environment, capture_output=True, check=False
        )
        assert run.returncode in expected, run.stderr
