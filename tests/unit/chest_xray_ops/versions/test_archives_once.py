"""Every command verifies an archive once, however often it uses it."""

import zipfile
from types import SimpleNamespace

import pytest

from chest_xray.archive import Archive
from chest_xray_ops import golden
from chest_xray_ops.torchserve.client import Version
from chest_xray_ops.torchserve.foreground import plan
from chest_xray_ops.torchserve.supervisor import Supervisor
from chest_xray_ops.versions.management import Management
from chest_xray_ops.versions.rollout import Rollout
from chest_xray_versions import DEFAULT_VERSION

NAME = f"chest-xray-{DEFAULT_VERSION}.mar"


class Client:
    """A server whose default version is the archive's, or is still to be registered."""

    def __init__(self, archive, version):
        self.registered = [version]
        self._answers = {
            case.png: {"model_version": DEFAULT_VERSION, "probabilities": case.probabilities}
            for case in golden.read(archive)
        }

    def versions(self):
        return [
            Version(version, version == self.registered[0], ("READY",), 1, 0, NAME)
            for version in self.registered
        ]

    def register(self, name, workers):
        self.registered.append(DEFAULT_VERSION)

    def set_default(self, version):
        self.registered.sort(key=lambda each: each != version)

    def unregister(self, version):
        self.registered.remove(version)

    def predict(self, request, version=None, timeout_s=None):
        return self._answers[request["data"]]

    def describe(self, version=None):
        return {"jobQueueStatus": {"pendingRequests": 0}}

    def wait_ready(self, *arguments, **options):
        pass

    def scale(self, *arguments, **options):
        pass


@pytest.fixture
def instance(tmp_path, store):
    return SimpleNamespace(directory=tmp_path, model_store=store, scratch=tmp_path)


@pytest.fixture
def verified(monkeypatch):
    """The archives that were verified as a whole, in order."""
    names = []
    testzip = zipfile.ZipFile.testzip

    def counted(archive):
        names.append(archive.filename)
        return testzip(archive)

    monkeypatch.setattr(zipfile.ZipFile, "testzip", counted)
    return names


def test_serve(instance, store, verified):
    Supervisor(SimpleNamespace(instance=instance), *plan(instance, DEFAULT_VERSION))
    assert verified == [str(store / NAME)]


def test_ready(instance, store, verified):
    client = Client(Archive.open(store / NAME), DEFAULT_VERSION)
    verified.clear()
    Management(instance, client).ready()
    assert verified == [str(store / NAME)]


def test_register(instance, store, verified):
    client = Client(Archive.open(store / NAME), "2.0")
    verified.clear()
    Management(instance, client).register(store / NAME, 1)
    assert client.registered == ["2.0", DEFAULT_VERSION]
    assert verified == [str(store / NAME)]


def test_rollout(instance, store, verified, monkeypatch):
    monkeypatch.setattr("chest_xray_ops.versions.rollout._QUIET_S", 0.0)
    monkeypatch.setattr("chest_xray_ops.versions.rollout.scale", lambda *given, **more: None)
    client = Client(Archive.open(store / NAME), "2.0")
    verified.clear()
    Rollout(client, instance, 5.0, lambda text: None).out(store / NAME, 1, keep=False)
    assert client.registered == [DEFAULT_VERSION]
    assert verified == [str(store / NAME)]
