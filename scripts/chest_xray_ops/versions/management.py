"""What an operator does with the versions of a running server, and remembers for its next start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chest_xray.archive import Archive
from chest_xray_ops import golden
from chest_xray_ops.failure import Refused
from chest_xray_ops.terminal import say
from chest_xray_ops.torchserve.client import TorchServeClient, Version
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_ops.torchserve.server import default_workers
from chest_xray_ops.torchserve.state import State
from chest_xray_ops.versions import scaling
from chest_xray_ops.versions.rollout import Rollout, located, stored

_READY_S = 10.0


@dataclass(frozen=True)
class Management:
    """The versions of one running server."""

    instance: Instance
    client: TorchServeClient
    timeout_s: float = 120
    """For workers to be READY and for a version to fall idle."""

    @classmethod
    def find(cls, timeout_s: float = 120) -> "Management":
        """Those of the server that the environment names."""
        instance = Instance.find()
        return cls(instance, TorchServeClient.of(instance), timeout_s)

    @property
    def rollout(self) -> Rollout:
        return Rollout(self.client, self.instance, self.timeout_s, say)

    def register(self, path: Path, workers: int | None) -> list[Version]:
        """Load an archive next to the versions that serve.

        Args:
            path: a ``.mar`` file, or the name of one in the model store.
            workers: by default as many as the default version has.

        Raises:
            Refused: its version is already registered.
            ServerError: the server does not take it.
            TimeoutError: its workers were not READY in time; the version is removed again.
            ValueError: it is not a model archive, or another one has its name.
        """
        before = self.client.versions()
        if workers is None:
            usual = next((len(each.workers) for each in before if each.default), 0)
            workers = usual or default_workers()
        archive = Archive.open(located(path, self.instance.model_store))
        if archive.version in {registered.version for registered in before}:
            raise Refused(f"version {archive.version} is already registered")
        with stored(archive, self.instance.model_store) as name:
            self.client.register(name, workers)
            try:
                self.client.wait_ready(workers, archive.version, self.timeout_s)
            except TimeoutError:
                self.client.unregister(archive.version)
                raise
        return self.remember()

    def set_default(self, version: str) -> list[Version]:
        """Let a version answer requests that name none.

        Raises:
            Refused: it has no READY worker; TorchServe would send all callers to it nevertheless.
        """
        for each in self.client.versions():
            if each.version == version and not each.ready:
                raise Refused(f"version {version} has no READY worker: scale it first")
        self.client.set_default(version)
        return self.remember()

    def scale(self, workers: int, version: str | None) -> list[Version]:
        """Give a version, by default the default one, another number of workers."""
        scaling.scale(self.client, self.instance, workers, version, self.timeout_s, say)
        return self.remember()

    def drain(self, version: str | None = None) -> list[Version]:
        """Wait until nothing of a version, by default of any, is queued or at work.

        Raises:
            Refused: that did not happen in time.
        """
        versions = self.client.versions()
        for each in versions:
            if version in (None, each.version) and not self.rollout.drain(each.version):
                seconds = f"{self.timeout_s:.0f} s"
                raise Refused(f"version {each.version} is still asked for after {seconds}")
        return versions

    def unregister(self, version: str, at_once: bool) -> list[Version]:
        """Drain and remove a version; ``at_once`` loses what it is working on.

        Raises:
            Refused: it is still asked for.
            ServerError: it is the default version while there are others, or is not registered.
        """
        versions = self.client.versions()
        refused_anyway = len(versions) > 1 and any(
            each.version == version and each.default for each in versions
        )
        if not (at_once or refused_anyway):
            self.drain(version)
        self.client.unregister(version)
        return self.remember()

    def ready(self) -> list[Version]:
        """The default version, if a worker of it answers a golden picture right now.

        Raises:
            Refused: there is no default version, or its answer is wrong.
            ServerUnreachable: there is no answer in time.
        """
        default = [each for each in self.client.versions() if each.default]
        if not default:
            raise Refused("no version is registered")
        [picture, *_] = golden.read(Archive.open(self.instance.model_store / default[0].archive))
        answer: dict[str, Any] = self.client.predict(picture.request, timeout_s=_READY_S)
        if fault := picture.fault(answer, default[0].version):
            raise Refused(fault)
        return default

    def remember(self) -> list[Version]:
        """The versions there are now, which a restart brings back."""
        versions = self.client.versions()
        if versions:
            before = State.load(self.instance)
            State.of(versions, before.previous if before else "").save(self.instance)
        return versions
