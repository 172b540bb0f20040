"""Manifests of Kubernetes and the file of compose: they are valid, and what they run works."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest
import requests
import yaml

from support.paths import ROOT
from support.waiting import wait_until

KUBERNETES = ROOT / "config" / "kubernetes"
COMPOSE = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())
VERSION = "1.30"
needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


def manifests():
    """Every object of the base, as it is written."""
    names = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["resources"]
    for name in names:
        yield from yaml.safe_load_all((KUBERNETES / "base" / name).read_text())


def rendered(overlay):
    run = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / overlay)],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(yaml.safe_load_all(run.stdout))


def pod(objects):
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    return spec, {each["name"]: each for each in spec["containers"]}


@pytest.mark.parametrize(
    "each", list(manifests()), ids=lambda each: f"{each['kind']} {each['metadata']['name']}"
)
def test_the_base_is_valid(each):
    if each["kind"] == "Deployment":  # the selector is put in with the labels
        each["spec"]["selector"] = {}
    kubernetes_validate.validate(each, VERSION, strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_overlays_are_valid(overlay):
    objects = rendered(overlay)
    for each in objects:
        kubernetes_validate.validate(each, VERSION, strict=True)
    spec, containers = pod(objects)
    gpus = containers["service"]["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == (1 if overlay == "gpu" else None)
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    for each in objects:
        if each["kind"] == "Service":
            assert each["spec"]["selector"].items() <= labels.items()


def test_pods_are_hardened():
    spec, containers = pod(manifests())
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for each in containers.values():
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["resources"]["limits"]["memory"]
    names = {each["name"] for each in spec["volumes"]}
    for each in containers.values():
        assert {mount["name"] for mount in each["volumeMounts"]} <= names
    user = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert spec["securityContext"]["runAsUser"] == int(user[1])


def test_the_hooks_end_before_the_pod_is_killed():
    spec, containers = pod(manifests())
    [command] = re.findall(r"sleep (\d+); .* --timeout (\d+)", hook(containers["service"]))
    assert sum(map(int, command)) + 15 < spec["terminationGracePeriodSeconds"]


def hook(container):
    return container["lifecycle"]["preStop"]["exec"]["command"][-1]


def here(command):
    """A command of the image, as it is run in this tree."""
    return command.replace("/opt/venv/bin/python", sys.executable).replace(
        "scripts/", f"{ROOT}/scripts/"
    )


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


@pytest.mark.e2e
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


@pytest.mark.e2e
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


def test_compose_refers_to_what_there_is():
    volumes = set(COMPOSE["volumes"])
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            exists = (
                (ROOT / "config" / source).exists() if source.startswith(".") else source in volumes
            )
            assert exists, volume
        for other in (
            *service.get("depends_on", ()),
            *re.findall(r"service:(\w+)", service.get("network_mode", "")),
        ):
            assert other in COMPOSE["services"]
    published = [
        port for service in COMPOSE["services"].values() for port in service.get("ports", ())
    ]
    assert published == ["${CHEST_XRAY_PORT:-8443}:8443", "127.0.0.1:3000:3000"]


def test_scripts_that_containers_run_are_in_the_image():
    _, containers = pod(manifests())
    commands = [containers["edge"]["command"], COMPOSE["services"]["edge"]["entrypoint"]]
    for command in commands:
        script = next(part for part in command if part.endswith(".py"))
        assert (ROOT / script).is_file()
    assert "nginx" in (ROOT / "Dockerfile").read_text()
    assert Path(containers["edge"]["volumeMounts"][0]["mountPath"]) == Path("/run/chest-xray")
