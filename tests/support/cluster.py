"""Manifests of Kubernetes and the file of compose."""

import yaml

from support.paths import ROOT

KUBERNETES = ROOT / "config" / "kubernetes"

COMPOSE = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())


def manifests():
    """Every object of the base, as it is written."""
    names = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["resources"]
    for name in names:
        yield from yaml.safe_load_all((KUBERNETES / "base" / name).read_text())


def pod(objects):
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    return spec, {each["name"]: each for each in spec["containers"]}


def hook(container):
    return container["lifecycle"]["preStop"]["exec"]["command"][-1]
