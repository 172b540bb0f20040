"""Raw public downloads -> one folder of films with metadata.csv and patient-disjoint splits.

Reads the folder tree of the Kaggle paediatric set and COVIDx-style lists of file, label, patient.
"""

import csv
import hashlib
import random
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chest_xray.errors import InputError
from chest_xray.image import decode_grayscale
from chest_xray.settings import Settings
from chest_xray_training.dataset import IMAGE_SUFFIXES, METADATA, SPLITS
from chest_xray_training.labels import parse_label

COLUMNS = ("file", "label", "split", "patient_id", "source")
_KAGGLE_PATIENT = re.compile(r"person(\d+)|IM-(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class RawFilm:
    """One image of a download, before it has a split."""

    path: Path
    label: str
    patient_id: str
    """Never empty; a film of an unknown patient is a patient of its own."""
    source: str


@dataclass(frozen=True)
class Prepared:
    """What became of a download."""

    counts: dict[str, dict[str, int]]
    """Films by split and label."""
    left_out: dict[str, int]
    """Films that were not taken, by reason."""


def read_kaggle(root: Path, labels: Sequence[str]) -> list[RawFilm]:
    """The paediatric set (Kermany et al. 2018): any folders whose last one is the label.

    Its own split is ignored: it shares patients between train and test. File names carry the
    patient, ``person<n>_bacteria_<m>`` or ``IM-<n>-<m>``; equal numbers count as one patient even
    where the download may mean two, which can only make the splits stricter.

    Raises:
        ValueError: no film lies in a folder named after a label.
    """
    films = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        try:
            label = parse_label(path.parent.name, labels)
        except ValueError:
            continue
        match = _KAGGLE_PATIENT.search(path.name)
        if match and match.group(1):
            patient = f"kaggle-person{int(match.group(1))}"
        elif match:
            patient = f"kaggle-im{int(match.group(2))}"
        else:
            patient = f"kaggle-{path.stem}"
        films.append(RawFilm(path, label, patient, "kaggle"))
    if not films:
        raise ValueError(f"{root} has no image in a folder named after a label")
    return films


def read_list(path: Path, images: Path, labels: Sequence[str]) -> list[RawFilm]:
    """A COVIDx-style list: a line per film with its file, label and patient in any column order.

    Columns are separated by commas, tabs or spaces. They are told apart by their header, if there
    is one, or else by what they hold: a file has the suffix of an image, a label is one of
    ``labels``, the patient is the first of the rest and the source the next. Files lie in
    ``images``.

    Raises:
        ValueError: a column cannot be told, or a line holds an unknown label; names the line.
    """
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty")
    separator = next((mark for mark in (",", "\t") if mark in lines[0]), None)
    rows = [
        next(csv.reader([line])) if separator == "," else line.split(separator) for line in lines
    ]
    columns = _header_columns(rows[0])
    body = rows[1:] if columns else rows
    columns = columns or _guess_columns(body[0], path, labels)
    films = []
    for number, row in enumerate(body, start=len(rows) - len(body) + 1):
        if len(row) <= max(columns.values()):
            raise ValueError(f"{path}, line {number}: expected {len(rows[0])} columns")
        cell = {name: row[index].strip() for name, index in columns.items()}
        try:
            label = parse_label(cell["label"], labels)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        # Without a source, equal patients of two lists (train and test, say) are the same one.
        patient = f"{cell.get('source') or 'list'}-{cell.get('patient') or cell['file']}"
        source = cell.get("source") or path.stem
        films.append(RawFilm(images / cell["file"], label, patient, source))
    return films


def prepare(
    films: Sequence[RawFilm],
    out: Path,
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    on_film: Callable[[], None] = lambda: None,
) -> Prepared:
    """Copy the usable films to ``out/images`` and write ``out/metadata.csv``.

    Left out: files that are missing or cannot be decoded, copies of a file that is taken, and
    files that come under two labels. Patients of identical files count as one patient.

    Raises:
        FileExistsError: ``out`` holds a data set already.
        ValueError: nothing is usable.
    """
    if (out / METADATA).exists():
        raise FileExistsError(f"{out / METADATA} exists: choose another folder")
    left_out: Counter[str] = Counter()
    copies: dict[str, list[RawFilm]] = defaultdict(list)
    for film in films:
        if (reason := _unusable(film.path)) is None:
            copies[hashlib.sha256(film.path.read_bytes()).hexdigest()].append(film)
        else:
            left_out[reason] += 1
        on_film()
    taken: dict[str, RawFilm] = {}
    for digest, same in copies.items():
        if len({film.label for film in same}) > 1:
            left_out["same image under two labels"] += len(same)
        else:
            taken[digest] = same[0]
            left_out["copy of another image"] += len(same) - 1
    if not taken:
        raise ValueError("no usable image")
    groups = _same_patient([[film.patient_id for film in copies[digest]] for digest in copies])
    splits = _split({d: (f.label, groups[f.patient_id]) for d, f in taken.items()}, shares, seed)

    labels = sorted({film.label for film in taken.values()})
    counts = {split: dict.fromkeys(labels, 0) for split in SPLITS}
    (out / "images").mkdir(parents=True, exist_ok=True)
    with (out / METADATA).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for digest, film in taken.items():
            # The digest keeps equal file names of two downloads apart.
            name = f"images/{film.path.stem}_{digest[:8]}{film.path.suffix.lower()}"
            shutil.copyfile(film.path, out / name)
            split = splits[digest]
            writer.writerow([name, film.label, split, groups[film.patient_id], film.source])
            counts[split][film.label] += 1
    return Prepared(counts, dict(+left_out))


def _header_columns(row: Sequence[str]) -> dict[str, int] | None:
    """Column numbers by name, if the row is a header."""
    spellings = {
        "file": "file", "filename": "file", "image": "file", "path": "file",
        "label": "label", "class": "label", "finding": "label",
        "patient": "patient", "patientid": "patient",
        "source": "source", "datasource": "source",
    }  # fmt: skip
    names = [spellings.get(re.sub(r"[^a-z]", "", cell.lower())) for cell in row]
    columns = {name: index for index, name in enumerate(names) if name}
    return columns if {"file", "label"} <= set(columns) else None


def _guess_columns(row: Sequence[str], path: Path, labels: Sequence[str]) -> dict[str, int]:
    """Column numbers of a list without a header, from its first line."""
    columns: dict[str, int] = {}
    rest = []
    for index, cell in enumerate(row):
        if "label" not in columns and _is_label(cell, labels):
            columns["label"] = index
        elif "file" not in columns and Path(cell.strip()).suffix.lower() in IMAGE_SUFFIXES:
            columns["file"] = index
        else:
            rest.append(index)
    if not {"file", "label"} <= set(columns):
        raise ValueError(f"{path}: the first line names no image file and label")
    return {**columns, **dict(zip(("patient", "source"), rest, strict=False))}


def _is_label(cell: str, labels: Sequence[str]) -> bool:
    try:
        parse_label(cell, labels)
    except ValueError:
        return False
    return True


def _unusable(path: Path) -> str | None:
    """Why a file cannot be taken; None if it can."""
    try:
        decode_grayscale(path.read_bytes(), Settings().max_image_pixels)
    except OSError:
        return "file is missing"
    except InputError as error:
        return error.code
    return None


def _same_patient(shared: Iterable[Sequence[str]]) -> dict[str, str]:
    """Patient -> one name for all patients that are joined by lists of the same patient."""
    root: dict[str, str] = {}

    def find(patient: str) -> str:
        root.setdefault(patient, patient)
        while root[patient] != patient:
            patient = root[patient]
        return patient

    for patients in shared:
        for patient in patients:
            first, other = sorted((find(patients[0]), find(patient)))
            root[other] = first
    return {patient: find(patient) for patient in root}


def _split(
    films: dict[str, tuple[str, str]], shares: tuple[float, float, float], seed: int
) -> dict[str, str]:
    """Film -> split, all films of a group together, each label near the shares.

    Groups go, larger ones first, to the split that most lacks their label.
    """
    members: dict[str, list[str]] = defaultdict(list)
    totals: Counter[str] = Counter()
    for film, (label, group) in films.items():
        members[group].append(film)
        totals[label] += 1
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    placed = {split: Counter[str]() for split in SPLITS}
    result = {}
    for group in order:
        labels = Counter(films[film][0] for film in members[group])
        label = labels.most_common(1)[0][0]
        lacking = {
            split: share - placed[split][label] / totals[label]
            for split, share in zip(SPLITS, shares, strict=True)
        }
        split = max(SPLITS, key=lacking.__getitem__)
        placed[split].update(labels)
        result.update(dict.fromkeys(members[group], split))
    return result
