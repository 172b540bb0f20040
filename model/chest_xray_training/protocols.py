"""Films -> the experiments that ask what a network and its recipe have really learnt.

Each trains one network from the start on some films and measures it on others.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chest_xray_residual import ResidualNet
from chest_xray_training import robust
from chest_xray_training.dataset import Film, FilmDataset, read_films
from chest_xray_training.loop import WEIGHTS, all_outputs, stored
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
from chest_xray_versions import PROTOCOLS

VERSION = "3.0"
"""The version whose recipe the experiments are about."""
FOLDS = 5
RECIPE = RobustRecipe(steps=4500, use_contradicted=True)
"""How each network is trained: with the labels as published, and for a shorter time than the served
one, since there are nine networks."""
_CPU = torch.device("cpu")
LEFT_OUT = (("nih-chestxray8", "covid-cxnet"), ("ieee8023", "nitrd-da"))
"""Sources that are left out together, so that each is left out once and what remains has every
label."""
_NORMAL = "normal"
"""The label of films without a disease."""


@dataclass(frozen=True)
class Experiment:
    """One network to train and where it is measured."""

    name: str
    train: list[Film]
    held: list[Film]
    lungs_masked: bool = False
    """Whether the lungs of all films are covered: what is still right then was not learnt from
    lungs."""
    best_on_held: bool = False
    """Whether to keep the weights that do best on the held films, as published work did, which is
    optimistic."""


def experiments(films: Sequence[Film]) -> list[Experiment]:
    """All experiments that the data set allows.

    - ``fold-K``: the five folds of the published DarkCovidNet set, no patient in two folds; films
      of other sources join the training.
    - ``published``: the same films, one random split of four fifths and a fifth, the weights that
      do best on the held films: how the published set was measured in its authors' notebook.
    - ``without-...``: leave some sources out and measure there.
    - ``lungs-masked``: the fixed split with the lungs covered.
    """
    published = [film for film in films if film.fold is not None]
    found = []
    for fold in range(FOLDS if published else 0):
        held = [film for film in published if film.fold == fold]
        found.append(Experiment(f"fold-{fold}", _apart(films, held), held))
    if published:
        shuffled = random.Random(0).sample(published, len(published))
        held, kept = shuffled[: len(shuffled) // FOLDS], shuffled[len(shuffled) // FOLDS :]
        found.append(Experiment("published", kept, held, best_on_held=True))
    for sources in LEFT_OUT:
        held = [film for film in films if film.source in sources]
        kept = [film for film in _apart(films, held) if film.split != "test"]
        if held and kept:
            found.append(Experiment("without-" + "-".join(sources), kept, held))
    kept, held = ([film for film in films if film.split == split] for split in ("train", "test"))
    found.append(Experiment("lungs-masked", kept, held, lungs_masked=True))
    return found


def _apart(films: Sequence[Film], held: Sequence[Film]) -> list[Film]:
    """The films of patients or groups that are not among the held ones."""
    units = {film.unit for film in held}
    return [film for film in films if film.unit not in units]


def train(
    experiment: Experiment,
    labels: Sequence[str],
    recipe: RobustRecipe,
    out: Path,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> dict[str, Tensor]:
    """Train one member of version 3.0 for the experiment; returns its weights as they are kept."""
    films, held = (
        FilmDataset(chosen, labels, lungs_masked=experiment.lungs_masked)
        for chosen in (experiment.train, experiment.held)
    )
    network = ResidualNet(len(labels))
    robust.train(
        network, recipe, films, held, out, device, progress, keep_best=experiment.best_on_held
    )
    network.load_state_dict(torch.load(out / WEIGHTS, weights_only=True))
    return stored(network)


def measure(data: Path, labels: Sequence[str], folder: Path = PROTOCOLS) -> dict[str, Any]:
    """The figures of all experiments that the data set allows and whose weights are there."""
    every = experiments(read_films(data, labels))
    named = {each.name: each for each in every if (folder / f"{each.name}.pt").exists()}
    answers = {name: _answers(each, labels, folder / f"{name}.pt") for name, each in named.items()}
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


def _answers(experiment: Experiment, labels: Sequence[str], weights: Path) -> Floats:
    """Probabilities float64 (N, labels) of the held films, the same digits on every processor."""
    network = ResidualNet(len(labels))
    network.load_state_dict(torch.load(weights, weights_only=True))
    films = FilmDataset(experiment.held, labels, lungs_masked=experiment.lungs_masked)
    network.double().eval()
    logits, _ = all_outputs(lambda images: network(images.double()), films, _CPU)
    found: Floats = torch.softmax(logits, 1).numpy()
    return found


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
    """Areas under curves within one unseen source, and between two that are both unseen; and how
    many normal films are called ill."""
    truths, healthy = truths_of(films, labels), labels.index(_NORMAL)
    sources = np.array([film.source for film in films])

    def compute(chosen: Ints) -> Figures:
        truth, answer, source = truths[chosen], answers[chosen], sources[chosen]
        unseen = ["unseen sources together"] * len(truth)
        found = within_source(truth, answer, list(source), labels, least=1)
        together = within_source(truth, answer, unseen, labels, least=1)
        normal = truth == healthy
        ill = answer[normal].argmax(1) != healthy
        return {**found, **together, "normal called ill": float(ill.mean()) if normal.any() else 0}

    known = within_source(truths, answers, list(sources), labels)
    found = with_intervals(compute, [film.unit for film in films])
    return {
        name: value
        for name, value in found.items()
        if name in known or "together" in name or name == "normal called ill"
    }
