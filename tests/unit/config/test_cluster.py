"""Manifests of Kubernetes and the file of compose are valid."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from chest_xray_ops.cli import GROUPS
from support.cluster import COMPOSE, KUBERNETES, hook, manifests, pod
from support.paths import ROOT

VERSION = "1.30"

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


def rendered(overlay):
    run = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / overlay)],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(yaml.safe_load_all(run.stdout))


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


def test_containers_run_verbs_that_there_are():
    _, containers = pod(manifests())
    commands = [containers["edge"]["command"], COMPOSE["services"]["edge"]["entrypoint"]]
    for command in commands:
        program, verb, *_ = command
        assert program == "chest-xray"
        assert any(verb in group.verbs for group in GROUPS)
    assert "nginx" in (ROOT / "Dockerfile").read_text()
    assert Path(containers["edge"]["volumeMounts"][0]["mountPath"]) == Path("/run/chest-xray")
