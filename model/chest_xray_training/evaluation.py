"""Measures one version on one split of a data set and writes its report.

The network computes in double precision, on the same path as it answers requests, so that every
processor gives the same digits.
"""

import csv
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chest_xray.archive import sha256
from chest_xray.classifier import Classifier
from chest_xray.prediction import Outputs, Prediction
from chest_xray.request import InlineImage, Request
from chest_xray.settings import Settings
from chest_xray_training import page, plots, protocols, report
from chest_xray_training.dataset import Film, FilmDataset, read_films
from chest_xray_training.faithfulness import faithfulness
from chest_xray_training.lungs import OUTLINES, mass_on_lungs
from chest_xray_training.metrics import Floats, share
from chest_xray_training.source_probe import name_the_source
from chest_xray_training.sources import by_group, by_source
from chest_xray_versions import load_network

_CHUNK = 8  # films that are classified at a time, which takes least time for each
_PROBED = 1500  # films of the training split that are enough for the probe of sources
_DIGITS = 9  # of a probability; processors differ in later ones
_SHEET = 20  # films on a sheet

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is to do."""


class Evaluation:
    """One version's answers to the films of one split, and of the split it was calibrated on."""

    def __init__(
        self, version: str, weights: Path, data: Path, split: str, progress: Progress
    ) -> None:
        """Classify all films.

        Args:
            version: the version, as "3.0".
            weights: its weights.
            data: the folder of the data set.
            split: ``train``, ``valid`` or ``test``.
            progress: is told what is being done.

        Raises:
            OSError: a film cannot be read.
            ValueError: the data set or the weights cannot be used.
        """
        self._version, self._weights, self._data, self._split = version, weights, data, split
        self._progress = progress
        self._network = load_network(version, weights).double()
        self._labels = self._network.labels
        splits = dict.fromkeys(("valid", split))
        self._films = {name: read_films(data, self._labels, name) for name in splits}
        self._answers: dict[str, list[Prediction]] = {}
        with Classifier(self._network, version, Settings(), reference=True) as classifier:
            for name, films in self._films.items():
                self._answers[name] = list(self._classified(classifier, name, films))

    def _classified(
        self, classifier: Classifier, split: str, films: Sequence[Film]
    ) -> Iterator[Prediction]:
        """What the version says of every film, those that its gate refuses included."""
        for first in range(0, len(films), _CHUNK):
            chunk = films[first : first + _CHUNK]
            sources = [InlineImage(film.path.read_bytes()) for film in chunk]
            requests = [Request(source, allow_out_of_distribution=True) for source in sources]
            for film, outcome in zip(chunk, classifier.classify(requests), strict=True):
                if not isinstance(outcome.answer, Prediction):
                    raise ValueError(f"{film.path}: {outcome.answer.message}")
                yield outcome.answer
            self._progress(f"classifying {split}", first + len(chunk), len(films))

    def measure(self, experiments: Path | None) -> dict[str, Any]:
        """Every figure of the report.

        Args:
            experiments: the folder of the answers of experiments on the version's recipe, if they
                belong to the report.
        """
        films, split = self._films, self._split
        probabilities, answers = self._probabilities(split), self._answers[split]
        low = np.array([answer.low_confidence for answer in answers])
        refused = np.array([not answer.in_distribution for answer in answers])
        dataset = self._read(split, films[split])
        train = read_films(self._data, self._labels, "train")
        probed = random.Random(0).sample(train, min(_PROBED, len(train)))
        found = {
            "version": self._version,
            "data": self._data.resolve().name,
            "split": split,
            "weights_sha256": sha256(self._weights),
            "temperature": round(float(self._network.temperature), 4),
            "bias": [round(value, 4) for value in self._network.bias.tolist()],
            "refused_as_no_film": {
                name: share(np.array([not answer.in_distribution for answer in answers]))
                for name, answers in self._answers.items()
            },
            **self._looks_inside(dataset, self._read("train", probed)),
            **report.evaluate(
                films[split], probabilities, Outputs(self._network).thresholds, self._labels
            ),
            "groups": by_group(films[split], probabilities, low, self._labels),
            "sources": by_source(films[split], probabilities, refused, self._labels),
        }
        if experiments and split == "test":
            self._progress("measuring experiments", 0, 1)
            found["experiments"] = protocols.measure(
                self._version, self._data, self._labels, experiments
            )
        return found

    def _looks_inside(self, films: FilmDataset, train_films: FilmDataset) -> dict[str, Any]:
        """What heat maps show, and what else the network has learnt."""
        with _one_thread():
            self._progress("naming the source", 0, 1)
            probe = name_the_source(self._network, train_films, films)
            explanations = faithfulness(
                self._network, films, lambda *done: self._progress("explaining", *done)
            )
            outlines = self._data / OUTLINES
            lungs = mass_on_lungs(self._network.network, films, outlines)
        return {
            "explanations": explanations,
            "heat_maps_on_lungs": lungs,
            "source_named_from_the_maps": probe,
        }

    def write(self, found: dict[str, Any], out: Path) -> None:
        """Write ``evaluation.json``, ``evaluation.md``, ``predictions.csv`` and plots into ``out``.

        Args:
            found: what :meth:`measure` returned.
        """
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2) + "\n"
        (out / "evaluation.json").write_text(text, encoding="utf-8")
        (out / "evaluation.md").write_text(page.markdown(found), encoding="utf-8")
        films, answers = self._films[self._split], self._answers[self._split]
        with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "label", "predicted", *self._labels])
            for film, answer in zip(films, answers, strict=True):
                row = [f"{value:.6f}" for value in answer.probabilities.values()]
                writer.writerow([film.name, film.label, answer.label, *row])
        title = f"version {self._version}, {self._split} split, {len(films)} films"
        plots.per_label_accuracy(found["table"], title, out / "per_label_accuracy.png")
        plots.confusion_matrix(found["confusion_matrix"], title, out / "confusion_matrix.png")
        plots.reliability(found["reliability"], title, out / "reliability.png")
        plots.right_by_collection(
            found["sources"], self._labels, title, out / "right_by_collection.png"
        )

    def draw_sheets(self, folder: Path) -> None:
        """Draw one sheet of sample films and one of films whose label was missed."""
        films, answers = self._films[self._split], self._answers[self._split]
        pairs = list(zip(films, answers, strict=True))
        missed = [(film, answer) for film, answer in pairs if answer.label != film.label]
        for name, among in (("sample", pairs), ("failures", missed)):
            chosen = random.Random(0).sample(among, min(_SHEET, len(among)))
            dataset = FilmDataset([film for film, _ in chosen], self._labels)
            sheet = [
                (dataset.pixels(index), answer.label, film.label)
                for index, (film, answer) in enumerate(chosen)
            ]
            plots.sample_sheet(sheet, folder / f"{self._version}-{self._split}-{name}.png")

    def _probabilities(self, split: str) -> Floats:
        """float64 (films, labels)."""
        rows = [list(answer.probabilities.values()) for answer in self._answers[split]]
        found: Floats = np.array(rows).round(_DIGITS)
        return found

    def _read(self, split: str, films: Sequence[Film]) -> FilmDataset:
        done = 0

        def on_film() -> None:
            nonlocal done
            done += 1
            self._progress(f"reading {split}", done, len(films))

        return FilmDataset(films, self._labels, on_film)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, as the classifier does, whatever the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
