"""A model archive as one value: which version it is, what labels it knows, and what it holds.

An archive is a ``.mar`` file (a zip) or the folder that TorchServe unpacks it to. It is verified
once, when it is opened; whoever needs it later passes the value on. Needs neither torch nor
TorchServe.
"""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "chest-xray"
"""The name that every version is registered under."""
MANIFEST = "MAR-INF/MANIFEST.json"
CHECKSUM = "weights.sha256"
"""Holds the SHA-256 of the weights, in hexadecimal."""
LABELS = "index_to_name.json"
"""Maps the index of every output to its label, as TorchServe's ImageClassifier expects it."""


@dataclass(frozen=True)
class Archive:
    """A whole and intact archive of this model."""

    path: Path
    version: str
    labels: tuple[str, ...]
    """In the order of the network's outputs."""
    network_file: str
    """The module that defines the version's one class."""
    weights_file: str
    config_file: str
    """Its ``handler:`` section holds the settings that the version was packed with."""

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Open and verify an archive: every entry's checksum and that of the weights.

        Args:
            path: a ``.mar`` file or an unpacked folder.

        Raises:
            FileNotFoundError: there is nothing at ``path``.
            ValueError: it is not a model archive, belongs to another model, or is damaged.
        """
        if not path.exists():
            raise FileNotFoundError(f"no archive at {path}")
        try:
            _check_entries(path)
            model = json.loads(_read(path, MANIFEST))["model"]
            if model["modelName"] != MODEL:
                raise ValueError(f"it belongs to model {model['modelName']}, not to {MODEL}")
            found = cls(
                path=path,
                version=model["modelVersion"],
                labels=_labels(json.loads(_read(path, LABELS))),
                network_file=model["modelFile"],
                weights_file=model["serializedFile"],
                config_file=model["configFile"],
            )
            expected = found.read(CHECKSUM).decode("ascii").strip()
            if hashlib.sha256(found.read(found.weights_file)).hexdigest() != expected:
                raise ValueError(f"SHA-256 of {found.weights_file} is not {expected}")
        except (zipfile.BadZipFile, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a usable model archive: {error}") from None
        return found

    def read(self, name: str) -> bytes:
        """The content of one entry; raises KeyError if there is none of that name."""
        return _read(self.path, name)

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A folder with the archive's top-level files: the one it was opened from, or a temporary
        one."""
        if self.path.is_dir():
            yield self.path
            return
        with (
            tempfile.TemporaryDirectory(prefix="chest-xray-") as name,
            zipfile.ZipFile(self.path) as file,
        ):
            file.extractall(name, [each for each in file.namelist() if "/" not in each])
            yield Path(name)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_entries(path: Path) -> None:
    """Compare every entry of a zip with its checksum."""
    if path.is_dir():
        return
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"{damaged} is damaged")


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        try:
            return (path / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None
    with zipfile.ZipFile(path) as file:
        return file.read(name)


def _labels(names: dict[str, Any]) -> tuple[str, ...]:
    labels = tuple(str(names[str(index)]) for index in range(len(names)))
    if not labels:
        raise ValueError(f"{LABELS} names no label")
    return labels
