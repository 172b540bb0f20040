"""Trains the experiments of :mod:`.experiments`, keeps their answers, and measures those."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chest_xray.network.stages import StagedNet
from chest_xray_training import loop, robust
from chest_xray_training.dataset import Film, FilmDataset, read_films
from chest_xray_training.experiments import Experiment, experiments
from chest_xray_training.loop import WEIGHTS, all_outputs
from chest_xray_training.metrics import (
    Figures,
    Floats,
    Ints,
    confusion_matrix,
    decisions,
    truths_of,
    with_intervals,
    within_source,
)
from chest_xray_training.robust import RobustRecipe

_CPU = torch.device("cpu")
_DIGITS = 9  # of a probability; processors differ in later ones
_NORMAL = "normal"
"""The label of films without a disease."""


def train(
    experiment: Experiment,
    labels: Sequence[str],
    out: Path,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> Floats:
    """Train the experiment's network; returns its probabilities of the held films, float64
    (N, labels), computed in double precision.

    Args:
        out: the folder of checkpoints.
        progress: is told the steps or epochs that are done, and their greatest number.
    """
    films, valid = (
        FilmDataset(chosen, labels, lungs_masked=experiment.lungs_masked)
        for chosen in (experiment.train, experiment.valid or experiment.held)
    )
    network, recipe = experiment.network(len(labels)), experiment.recipe
    if isinstance(recipe, RobustRecipe):
        best = experiment.best_on_held
        robust.train(network, recipe, films, valid, out, device, progress, keep_best=best)
    else:
        epochs = recipe.epochs
        loop.train(
            network, recipe, films, valid, out, device,
            lambda epoch, step, steps: progress(epoch, epochs),
        )  # fmt: skip
    network.load_state_dict(torch.load(out / WEIGHTS, weights_only=True))
    return answers_of(network, experiment, labels)


def answers_of(network: StagedNet, experiment: Experiment, labels: Sequence[str]) -> Floats:
    """A network's probabilities of the held films, as :func:`train` returns them."""
    network.cpu().double().eval()
    films = FilmDataset(experiment.held, labels, lungs_masked=experiment.lungs_masked)
    logits, _ = all_outputs(lambda images: network(images.double()), films, _CPU)
    found: Floats = torch.softmax(logits, 1).numpy()
    return found


def write_answers(
    path: Path, films: Sequence[Film], answers: Floats, labels: Sequence[str]
) -> None:
    """Keep the probabilities of films, float (N, labels), as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *labels])
        for film, row in zip(films, answers, strict=True):
            writer.writerow([film.name, *(f"{value:.{_DIGITS}f}" for value in row)])


def read_answers(path: Path, films: Sequence[Film], labels: Sequence[str]) -> Floats:
    """What :func:`write_answers` has kept.

    Raises:
        ValueError: it is of other films or other labels.
    """
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    if head[1:] != list(labels) or [row[0] for row in rows] != [film.name for film in films]:
        raise ValueError(f"{path} has answers to other films")
    return np.array([[float(value) for value in row[1:]] for row in rows])


def measure(version: str, data: Path, labels: Sequence[str], folder: Path) -> dict[str, Any]:
    """The figures of all experiments on a version that the data set allows; empty if there are
    none.

    Args:
        folder: of the experiments' answers, ``NAME.csv``; those that have none, or none to these
            films, are left out.
    """
    named, answers = {}, {}
    for each in experiments(version, read_films(data, labels)):
        try:
            answers[each.name] = read_answers(folder / f"{each.name}.csv", each.held, labels)
        except (FileNotFoundError, ValueError):
            continue
        named[each.name] = each
    report: dict[str, Any] = {}
    folds = [name for name in named if name.startswith("fold-")]
    if folds:
        films = [named[name] for name in folds]
        report["folds"] = _folds(films, [answers[name] for name in folds], labels)
    for name, experiment in named.items():
        if name.startswith("without-"):
            report[name] = _unseen(experiment.held, answers[name], labels)
        elif name not in folds:
            report[name] = _summary(experiment.held, answers[name], labels)
    return report


def _folds(
    folds: Sequence[Experiment], answers: Sequence[Floats], labels: Sequence[str]
) -> dict[str, Any]:
    """Five folds, as published: the mean of their accuracies, and the figures of all films."""
    accuracies = [
        float((truths_of(fold.held, labels) == answer.argmax(1)).mean())
        for fold, answer in zip(folds, answers, strict=True)
    ]
    films = [film for fold in folds for film in fold.held]
    return {
        "accuracy_per_fold": [round(value, 4) for value in accuracies],
        "mean_accuracy": round(float(np.mean(accuracies)), 4),
        **_summary(films, np.concatenate(answers), labels),
    }


def _summary(films: Sequence[Film], answers: Floats, labels: Sequence[str]) -> dict[str, Any]:
    truths = truths_of(films, labels)

    def compute(chosen: Ints) -> Figures:
        return decisions(truths[chosen], answers[chosen].argmax(1), labels)

    found = with_intervals(compute, [film.unit for film in films])
    kept = ("accuracy", "balanced accuracy", *(f"sensitivity {label}" for label in labels))
    return {
        "films": len(films),
        "confusion_matrix": confusion_matrix(truths, answers.argmax(1), len(labels)),
        **{name: found[name] for name in kept},
    }


def _unseen(films: Sequence[Film], answers: Floats, labels: Sequence[str]) -> dict[str, Any]:
    """Areas under curves within one unseen source, and between two that are both unseen; how many
    films of each label are found, and how many normal films are called ill."""
    truths, healthy = truths_of(films, labels), labels.index(_NORMAL)
    sources = np.array([film.source for film in films])
    sensitivities = [
        f"sensitivity {label}" for index, label in enumerate(labels) if (truths == index).any()
    ]

    def compute(chosen: Ints) -> Figures:
        truth, answer, source = truths[chosen], answers[chosen], sources[chosen]
        unseen = ["unseen sources together"] * len(truth)
        found = within_source(truth, answer, list(source), labels, least=1)
        together = within_source(truth, answer, unseen, labels, least=1)
        normal = truth == healthy
        ill = answer[normal].argmax(1) != healthy
        every = decisions(truth, answer.argmax(1), labels)
        found |= {name: every[name] for name in sensitivities}
        return {**found, **together, "normal called ill": float(ill.mean()) if normal.any() else 0}

    known = within_source(truths, answers, list(sources), labels)
    found = with_intervals(compute, [film.unit for film in films])
    return {
        name: value
        for name, value in found.items()
        if name in (*known, *sensitivities) or "together" in name or name == "normal called ill"
    }
