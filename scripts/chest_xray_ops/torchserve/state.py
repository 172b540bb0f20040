"""What a server serves, kept in its directory, so that a restart brings it back: TorchServe itself
forgets."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chest_xray.files import write_atomically
from chest_xray_ops.torchserve.client import Version
from chest_xray_ops.torchserve.instance import Instance

_FILE = "state.json"


@dataclass(frozen=True)
class Entry:
    """One registered version."""

    version: str
    archive: str
    """Its file in the model store."""
    workers: int


@dataclass(frozen=True)
class State:
    """All of them."""

    default: str
    """The version that answers requests that name none."""
    entries: tuple[Entry, ...]
    previous: str = ""
    """The default before this one, for a rollback."""

    def entry(self, version: str) -> Entry | None:
        return next((each for each in self.entries if each.version == version), None)

    @classmethod
    def of(cls, versions: Sequence[Version], previous: str = "") -> "State":
        """What these versions amount to."""
        return cls(
            default=next(each.version for each in versions if each.default),
            entries=tuple(Entry(each.version, each.archive, each.wanted) for each in versions),
            previous=previous,
        )

    @classmethod
    def load(cls, instance: Instance) -> "State | None":
        """What the server served last; None if it never did or the file cannot be read."""
        try:
            found = json.loads(_path(instance).read_text(encoding="utf-8"))
            entries = tuple(Entry(**each) for each in found["entries"])
            return cls(found["default"], entries, found["previous"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def forget(instance: Instance) -> None:
        """Start afresh."""
        _path(instance).unlink(missing_ok=True)

    def save(self, instance: Instance) -> None:
        """Write it as a whole or not at all."""
        write_atomically(_path(instance), json.dumps(asdict(self), indent=2) + "\n")


def _path(instance: Instance) -> Path:
    return instance.directory / _FILE
