"""Measures one version on one split of a data set, and writes its report."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from chest_xray.archive import sha256
from chest_xray.network.compiled import serving_form
from chest_xray.prediction import Prediction, predict
from chest_xray_training import plots, protocols, report
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.faithfulness import faithfulness
from chest_xray_training.loop import outputs_of
from chest_xray_training.metrics import share
from chest_xray_versions import load_network

_SHEET = 20  # films on a sheet


class Evaluation:
    """One version's answers to the films of one split, and of the split it was calibrated on."""

    def __init__(
        self, version: str, weights: Path, data: Path, split: str, progress: Progress
    ) -> None:
        """Classify all films.

        Args:
            version: whose network it is.
            weights: its weights.
            data: folder of the data set.
            split: ``train``, ``valid`` or ``test``.
            progress: where what is under way is shown.

        Raises:
            OSError: a film cannot be read.
            ValueError: the data set or the weights are not what they should be.
        """
        self._version, self._weights, self._data, self._split = version, weights, data, split
        self._progress = progress
        self._network = load_network(version, weights)
        splits = dict.fromkeys(("valid", split))
        self._films = {name: read_films(data, name) for name in splits}
        self._datasets: dict[str, FilmDataset] = {}
        self._answers: dict[str, list[Prediction]] = {}
        device = torch.device("cpu")
        served = serving_form(self._network, device)
        count = sum(map(len, self._films.values()))
        reading = progress.add_task("reading films", total=count)
        task = progress.add_task("classifying", total=count)
        for name in splits:
            dataset = FilmDataset(self._films[name], lambda: progress.advance(reading))
            answers: list[Prediction] = []
            for readings, _ in outputs_of(served, dataset, device):
                answers += predict(readings, self._network.labels)
                progress.advance(task, len(readings))
            self._datasets[name], self._answers[name] = dataset, answers

    def measure(self, experiments: bool) -> dict[str, Any]:
        """Every figure of the report.

        Args:
            experiments: measure those of version 3.0's recipe, too, where the report has them.
        """
        films, split = self._films, self._split
        probabilities = {name: self._probabilities(name) for name in self._answers}
        self._progress.add_task("deleting what heat maps call hot", total=None)
        faithful = faithfulness(self._network, self._datasets[split])
        self._progress.add_task("asking where films are from", total=None)
        probe_films = FilmDataset(read_films(self._data, "train"))
        probe = protocols.name_the_source(self._network, probe_films, self._datasets[split])
        self._progress.add_task("drawing patients again and again, for the intervals", total=None)
        found = {
            "version": self._version,
            "data": self._data.resolve().name,
            "split": split,
            "weights_sha256": sha256(self._weights),
            "temperature": round(float(self._network.temperature), 4),
            "bias": [round(value, 4) for value in self._network.bias.tolist()],
            "refused_as_no_film": {
                name: share(np.array([each.score for each in answers]) < 0.5)
                for name, answers in self._answers.items()
            },
            "explanations": faithful,
            "source_named_from_the_maps": probe,
            **report.evaluate(
                films[split], probabilities[split], films["valid"], probabilities["valid"]
            ),
        }
        if self._version.startswith("3.") and split == "test" and experiments:
            self._progress.add_task("measuring experiments", total=None)
            found["experiments"] = protocols.measure(self._data)
        return found

    def write(self, found: dict[str, Any], out: Path) -> None:
        """Write evaluation.json, evaluation.md, predictions.csv and plots into a folder."""
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2) + "\n"
        (out / "evaluation.json").write_text(text, encoding="utf-8")
        (out / "evaluation.md").write_text(report.markdown(found), encoding="utf-8")
        with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "label", "predicted", *self._network.labels])
            rows = self._probabilities(self._split)
            films = self._films[self._split]
            for film, answer, row in zip(films, self._predicted(), rows, strict=True):
                writer.writerow([film.name, film.label, answer, *(f"{each:.6f}" for each in row)])
        title = f"version {self._version}, {self._split} split, {len(rows)} films"
        plots.per_label_accuracy(found["table"], title, out / "per_label_accuracy.png")
        plots.confusion_matrix(found["confusion_matrix"], title, out / "confusion_matrix.png")
        plots.reliability(found["reliability"], title, out / "reliability.png")

    def draw_sheets(self, folder: Path) -> None:
        """Draw one sheet of sample films and one of films whose label was missed."""
        predicted = self._predicted()
        truths = [film.label for film in self._films[self._split]]
        every = range(len(truths))
        wrong = [index for index in every if predicted[index] != truths[index]]
        for name, indices in (("sample", every), ("failures", wrong)):
            chosen = random.Random(0).sample(indices, min(_SHEET, len(indices)))
            sheet = [(self._picture(index), predicted[index], truths[index]) for index in chosen]
            plots.sample_sheet(sheet, folder / f"{self._version}-{self._split}-{name}.png")

    def _probabilities(self, split: str) -> Any:
        """float64 (films, labels)."""
        return np.array([list(each.probabilities.values()) for each in self._answers[split]])

    def _predicted(self) -> list[str]:
        labels = self._network.labels
        return [labels[index] for index in self._probabilities(self._split).argmax(1)]

    def _picture(self, index: int) -> object:
        return (self._datasets[self._split][index][0][0].numpy() * 255).astype(np.uint8)
