"""A folder on disk -> films of one split -> tensors for the network."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from chest_xray.image import decode_grayscale
from chest_xray.settings import Settings
from chest_xray.transform import SIZE, resize, to_tensor
from chest_xray_training.labels import parse_label

SPLITS = ("train", "valid", "test")
METADATA = "metadata.csv"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LUNGS = (slice(SIZE * 15 // 100, SIZE * 85 // 100), slice(SIZE * 10 // 100, SIZE * 90 // 100))
"""The rows and columns in which the lungs of nearly all films are."""
_CONTRADICTED = {("pneumonia", "Normal"), ("normal", "Lung Opacity")}
"""A label that was mined from a report, and what the radiologists of the RSNA challenge called the
film."""
CHILDREN = "kermany-pediatric"
"""The collection of children's films alone, which does not state the age of a single child."""
_SPLIT_SPELLINGS = {"val": "valid", "validation": "valid"}


@dataclass(frozen=True)
class Film:
    """One image of a data set."""

    path: Path
    name: str
    """Its path inside the data set, which identifies it in every report."""
    label: str
    split: str
    patient_id: str
    """Empty where the data set does not say; so are the next ones."""
    group: str = ""
    """What never crosses a split, usually a patient."""
    source: str = ""
    """The collection that it is from."""
    sex: str = ""
    age: float | None = None
    """In years."""
    view: str = ""
    """PA, AP or what else the source says."""
    fold: int | None = None
    """Its fold of five, for films of the published DarkCovidNet set."""
    contradicted: bool = False
    """Whether radiologists read it otherwise than its label says."""

    @property
    def age_group(self) -> str:
        """``adults`` or ``children``, who are under 18; empty where the data set does not say."""
        if self.source == CHILDREN:
            return "children"
        if self.age is None:
            return ""
        return "children" if self.age < 18 else "adults"

    @property
    def unit(self) -> str:
        """What a bootstrap draws as one: the group, the patient, or else the film itself."""
        return self.group or self.patient_id or self.name


def read_films(root: Path, labels: Sequence[str], split: str | None = None) -> list[Film]:
    """The films of one split, or all of them, in a fixed order.

    ``root`` holds either ``metadata.csv`` (columns file, label, split; patient_id, group, source,
    sex, age, view, fold and rsna_class where known) or folders ``train/ valid/ test/`` with one
    folder per label.

    Args:
        labels: what the films may show; data sets may spell them in their own ways.

    Raises:
        ValueError: the split or a label is unknown, a column is missing, or the split has no film.
        FileNotFoundError: ``root`` is neither of the two layouts.
    """
    if split not in (*SPLITS, None):
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if (root / METADATA).is_file():
        films = _from_metadata(root, labels)
    elif any((root / name).is_dir() for name in (*SPLITS, *_SPLIT_SPELLINGS)):
        films = _from_folders(root, labels)
    else:
        raise FileNotFoundError(f"{root} has neither {METADATA} nor folders {'/ '.join(SPLITS)}/")
    chosen = [film for film in films if split in (film.split, None)]
    if not chosen:
        raise ValueError(f"{root} has no film in split {split!r}")
    return chosen


def _from_metadata(root: Path, labels: Sequence[str]) -> list[Film]:
    with (root / METADATA).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := {"file", "label", "split"} - set(reader.fieldnames or ()):
            raise ValueError(f"{root / METADATA} lacks column {', '.join(sorted(missing))}")
        return [_from_row(root, row, parse_label(row["label"], labels)) for row in reader]


def _from_row(root: Path, row: Mapping[str, str], label: str) -> Film:
    return Film(
        path=root / row["file"],
        name=row["file"],
        label=label,
        split=_SPLIT_SPELLINGS.get(row["split"], row["split"]),
        patient_id=row.get("patient_id") or "",
        group=row.get("group") or "",
        source=row.get("source") or "",
        sex=row.get("sex") or "",
        age=_age(row.get("age") or ""),
        view=row.get("view") or "",
        fold=int(row["fold"]) if row.get("fold") else None,
        contradicted=(label, row.get("rsna_class") or "") in _CONTRADICTED,
    )


def _age(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _from_folders(root: Path, labels: Sequence[str]) -> list[Film]:
    films = []
    for split_dir in sorted(path for path in root.iterdir() if path.is_dir()):
        split = _SPLIT_SPELLINGS.get(split_dir.name, split_dir.name)
        if split not in SPLITS:
            continue
        for label_dir in sorted(path for path in split_dir.iterdir() if path.is_dir()):
            label = parse_label(label_dir.name, labels)
            for path in sorted(label_dir.rglob("*")):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    films.append(Film(path, str(path.relative_to(root)), label, split, ""))
    return films


class FilmDataset(Dataset[tuple[Tensor, int]]):
    """Films as pairs of a tensor and a target; they are decoded and resized once and kept as uint8
    (50 KB each)."""

    def __init__(
        self,
        films: Sequence[Film],
        labels: Sequence[str],
        on_film: Callable[[], None] = lambda: None,
        *,
        lungs_masked: bool = False,
    ) -> None:
        """Read every film.

        Args:
            labels: what a version can answer, in the order of its logits.
            on_film: is called after each film, for a progress bar.
            lungs_masked: black out the rectangle in which lungs are (Maguolo & Nanni 2021).

        Raises:
            ValueError: a file cannot be read or decoded; the message names it.
        """
        self.films, self.labels = list(films), tuple(labels)
        self._resized = []
        for film in self.films:
            pixels = _read(film)
            if lungs_masked:
                pixels = pixels.copy()
                pixels[_LUNGS] = 0
            self._resized.append(pixels)
            on_film()

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """float32 (1, 224, 224) and the index of the label."""
        return to_tensor(self._resized[index]), self.labels.index(self.films[index].label)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One film, uint8 (224, 224)."""
        return self._resized[index]

    def images(self, side: int) -> Tensor:
        """All films at once, uint8 (N, 1, side, side), resized with antialiasing."""
        scaled = (
            functional.interpolate(
                to_tensor(pixels)[None], size=(side, side), mode="bilinear", antialias=True
            )
            for pixels in self._resized
        )
        return torch.cat([(each * 255).round().to(torch.uint8) for each in scaled])

    def targets(self) -> Tensor:
        """int64 (N,): the indices of the labels."""
        return torch.tensor([self.labels.index(film.label) for film in self.films])


def _read(film: Film) -> NDArray[np.uint8]:
    try:
        return resize(decode_grayscale(film.path.read_bytes(), Settings().max_image_pixels))
    except Exception as error:
        raise ValueError(f"{film.path}: {error}") from error
