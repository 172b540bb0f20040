"""Builds the archive of one model version: code, network, weights, labels and configuration.

The same sources give the same bytes: entries are sorted, stored and carry one fixed date.
"""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging import generate_model_archive

import chest_xray
from chest_xray.archive import CHECKSUM, sha256
from chest_xray.files import replacing
from chest_xray_ops import golden
from chest_xray_ops.places import CONFIG, MODEL_STORE
from chest_xray_ops.torchserve.instance import MODEL
from chest_xray_versions import (
    CHECKSUMS,
    WEIGHTS,
    network_class,
    network_file,
    network_parts,
)

_MANIFEST = "MAR-INF/MANIFEST.json"
_HANDLER = Path(chest_xray.__file__).parent.parent
"""The folder of the handler and of the package that it uses."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def archive_path(version: str, store: Path = MODEL_STORE) -> Path:
    return store / f"{MODEL}-{version}.mar"


def build(version: str, weights: Path, store: Path = MODEL_STORE) -> Path:
    """Write ``chest-xray-VERSION.mar`` into ``store``.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: there is no network for this version, the weights are not this network's, or
            committed weights are not the ones that were committed.
    """
    network = network_file(version)
    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    digest = sha256(weights)
    if weights.parent == WEIGHTS and f"{digest}  {weights.name}" not in CHECKSUMS.read_text():
        raise ValueError(f"{weights} is damaged: its checksum is not in {CHECKSUMS.name}")
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        labels = scratch / "index_to_name.json"
        names = dict(enumerate(network_class(version).labels))
        labels.write_text(json.dumps(names, indent=2), encoding="utf-8")
        (scratch / CHECKSUM).write_text(digest, encoding="ascii")
        answers = scratch / golden.FILE
        answers.write_text(golden.answers(version, weights), encoding="utf-8")
        code = scratch / "code"  # alone: in an installed wheel, all packages lie next to it
        shutil.copytree(
            _HANDLER / "chest_xray", code / "chest_xray", ignore=shutil.ignore_patterns("*.pyc")
        )
        exported = scratch / "exported"
        exported.mkdir()
        # The archiver stages in the temporary directory, under the model's name, and wipes what
        # is there; a private one keeps two builds apart.
        tempfile.tempdir, outer = name, tempfile.tempdir
        try:
            generate_model_archive(
                ModelArchiverConfig(
                    model_name=MODEL,
                    version=version,
                    handler=str(_HANDLER / "chest_xray_handler.py"),
                    model_file=str(network),
                    serialized_file=str(weights),
                    extra_files=",".join(
                        map(
                            str,
                            [
                                code,
                                labels,
                                answers,
                                scratch / CHECKSUM,
                                *network_parts(version),
                            ],
                        )
                    ),
                    config_file=str(CONFIG / "model-config.yaml"),
                    export_path=str(exported),
                    archive_format="no-archive",
                )
            )
        finally:
            tempfile.tempdir = outer
        target = archive_path(version, store)
        # A server that reads the old archive at this moment reads it whole.
        with replacing(target) as file:
            _zip(exported / MODEL, file)
    return target


def verify(archive: Path) -> None:
    """Check what TorchServe does not: that the file is a whole archive.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no archive, cut off or damaged.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"no archive at {archive}")
    try:
        with zipfile.ZipFile(archive) as file:
            file.getinfo(_MANIFEST)
            damaged = file.testzip()
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{archive} is no archive: {error}") from None
    if damaged:
        raise ValueError(f"{archive} is damaged: {damaged}")


def version_of(archive: Path) -> str:
    """The version that an archive holds; raises as :func:`verify`, and ValueError if it is another
    model's."""
    verify(archive)
    with zipfile.ZipFile(archive) as file:
        model = json.loads(file.read(_MANIFEST))["model"]
    if model["modelName"] != MODEL:
        raise ValueError(f"{archive} is an archive of {model['modelName']}, not of {MODEL}")
    version: str = model["modelVersion"]
    return version


def _zip(folder: Path, target: BinaryIO) -> None:
    """Stored, not deflated: a worker starts sooner, and bytes do not depend on zlib's version."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            if path.name == "MANIFEST.json":
                manifest = json.loads(data)
                manifest["createdOn"] = "01/01/1980 00:00:00"  # the zip's date, in their form
                data = json.dumps(manifest, indent=2, sort_keys=True).encode()
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
