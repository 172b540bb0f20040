"""What a server serves, kept in its directory so that a restart restores it: TorchServe itself
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
    """Every version that a server has registered, and which one is the default."""

    default: str
    """The version that answers requests that name none."""
    entries: tuple[Entry, ...]
    previous: str = ""
    """The default before this one, for a rollback."""

    def entry(self, version: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.version == version), None)

    @classmethod
    def of(cls, versions: Sequence[Version], previous: str = "") -> "State":
        """The state in which a server has these versions; one of them is the default."""
        return cls(
            default=next(version.version for version in versions if version.default),
            entries=tuple(
                Entry(version.version, version.archive, version.wanted) for version in versions
            ),
            previous=previous,
        )

    @classmethod
    def load(cls, instance: Instance) -> "State | None":
        """The state that was saved last; None if there is none or the file cannot be read."""
        try:
            saved = json.loads(_path(instance).read_text(encoding="utf-8"))
            entries = tuple(Entry(**entry) for entry in saved["entries"])
            return cls(saved["default"], entries, saved["previous"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def forget(instance: Instance) -> None:
        """Remove the saved state: the next start begins with a version of its own."""
        _path(instance).unlink(missing_ok=True)

    def save(self, instance: Instance) -> None:
        """Write it as a whole or not at all."""
        write_atomically(_path(instance), json.dumps(asdict(self), indent=2) + "\n")


def _path(instance: Instance) -> Path:
    return instance.directory / _FILE
