"""Builds the archive of one version: its code, network, weights, labels, configuration and golden
answers.

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
from chest_xray.archive import CHECKSUM, LABELS, MANIFEST, MODEL, sha256
from chest_xray.files import replacing
from chest_xray_ops import golden
from chest_xray_ops.places import MODEL_CONFIG, MODEL_STORE
from chest_xray_versions import CHECKSUMS, WEIGHTS, network_class, network_file, network_parts

_HANDLER = Path(chest_xray.__file__).parent.parent
"""The folder of the handler and of the package that it uses."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def archive_path(version: str, store: Path = MODEL_STORE) -> Path:
    """Where the archive of a version lies in a model store."""
    return store / f"{MODEL}-{version}.mar"


def build(version: str, weights: Path, store: Path = MODEL_STORE) -> Path:
    """Write ``chest-xray-VERSION.mar`` into ``store``.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: there is no such version, the weights are not this network's, or committed
            weights are not the ones that were committed.
    """
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chest-xray-") as name:
        folder = _stage(version, weights, Path(name))
        entries = sorted(path for path in folder.rglob("*") if path.is_file())
        answers = folder / golden.FILE
        answers.write_text(golden.answers(folder), encoding="utf-8")
        target = archive_path(version, store)
        # A server that reads the old archive at this moment reads it whole.
        with replacing(target) as file:
            _zip(folder, sorted([*entries, answers]), file)
    return target


def _stage(version: str, weights: Path, scratch: Path) -> Path:
    """The archive as a folder in ``scratch``, without golden answers; raises as :func:`build`."""
    labels = scratch / LABELS
    names = dict(enumerate(network_class(version).labels))
    labels.write_text(json.dumps(names, indent=2), encoding="utf-8")
    checksum = scratch / CHECKSUM
    checksum.write_text(_checked(weights), encoding="ascii")
    code = scratch / "code"  # by itself: in an installed wheel, all packages lie next to it
    shutil.copytree(
        _HANDLER / "chest_xray", code / "chest_xray", ignore=shutil.ignore_patterns("*.pyc")
    )
    exported = scratch / "exported"
    exported.mkdir()
    # The archiver stages in the temporary directory, under the model's name, and wipes what is
    # there; a private one keeps two builds apart.
    tempfile.tempdir, outer = str(scratch), tempfile.tempdir
    try:
        generate_model_archive(
            ModelArchiverConfig(
                model_name=MODEL,
                version=version,
                handler=str(_HANDLER / "chest_xray_handler.py"),
                model_file=str(network_file(version)),
                serialized_file=str(weights),
                extra_files=",".join(map(str, [code, labels, checksum, *network_parts(version)])),
                config_file=str(MODEL_CONFIG),
                export_path=str(exported),
                archive_format="no-archive",
            )
        )
    finally:
        tempfile.tempdir = outer
    manifest = exported / MODEL / MANIFEST
    content = json.loads(manifest.read_bytes())
    content["createdOn"] = "01/01/1980 00:00:00"  # the zip's date, as the archiver writes dates
    manifest.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
    return exported / MODEL


def _checked(weights: Path) -> str:
    """The SHA-256 of weights, in hexadecimal; raises as :func:`build`."""
    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    digest = sha256(weights)
    if weights.parent == WEIGHTS and f"{digest}  {weights.name}" not in CHECKSUMS.read_text():
        raise ValueError(f"{weights} is damaged: its checksum is not in {CHECKSUMS.name}")
    return digest


def _zip(folder: Path, paths: list[Path], target: BinaryIO) -> None:
    """Stored, not deflated: a worker starts sooner, and bytes do not depend on zlib's version."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
