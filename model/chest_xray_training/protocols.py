"""Films -> the experiments that ask what a network and its recipe have really learnt.

Each trains one network anew on some films and measures it on others.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from chest_xray.labels import LABELS
from chest_xray.network.stages import ServedNet
from chest_xray.transform import SIZE
from chest_xray_residual import ResidualNet
from chest_xray_training import robust
from chest_xray_training.dataset import Film, FilmDataset, read_films
from chest_xray_training.gating import describe
from chest_xray_training.loop import WEIGHTS, all_outputs
from chest_xray_training.metrics import (
    Figures,
    Floats,
    Ints,
    confusion_matrix,
    decisions,
    share,
    truths_of,
    with_intervals,
    within_source,
)
from chest_xray_training.recipes import stored
from chest_xray_training.robust import RobustRecipe
from chest_xray_versions import PROTOCOLS

FOLDS = 5
RECIPE = RobustRecipe(steps=4500, use_contradicted=True)
"""Shorter than the served one, since there are nine networks to train, and with the labels as
published."""
_CPU = torch.device("cpu")
LEFT_OUT = (("nih-chestxray8", "covid-cxnet"), ("ieee8023", "nitrd-da"))
"""Sources left out together, so that each is left out once and what is left has every label."""


@dataclass(frozen=True)
class Experiment:
    """One network to train and where it is measured."""

    name: str
    train: list[Film]
    held: list[Film]
    lungs_masked: bool = False
    """Cover the lungs of all films: what then is still right was not learnt from lungs."""
    best_on_held: bool = False
    """Keep the weights that do best on the held films, as published work did. Optimistic."""


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
    recipe: RobustRecipe,
    out: Path,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> dict[str, Tensor]:
    """Train one member of version 3.0 for the experiment; its weights as they are kept."""
    films, held = (
        FilmDataset(each, lungs_masked=experiment.lungs_masked)
        for each in (experiment.train, experiment.held)
    )
    network = ResidualNet(len(LABELS))
    robust.train(
        network, recipe, films, held, out, device, progress, keep_best=experiment.best_on_held
    )
    network.load_state_dict(torch.load(out / WEIGHTS, weights_only=True))
    return stored(network)


def measure(data: Path, folder: Path = PROTOCOLS) -> dict[str, Any]:
    """The figures of all experiments that the data set allows and whose weights are there."""
    every = experiments(read_films(data))
    named = {each.name: each for each in every if (folder / f"{each.name}.pt").exists()}
    answers = {name: _answers(each, folder / f"{name}.pt") for name, each in named.items()}
    report: dict[str, Any] = {}
    folds = [name for name in named if name.startswith("fold-")]
    if folds:
        found = _folds([named[name] for name in folds], [answers[name] for name in folds])
        report["folds"] = found
    for name, experiment in named.items():
        if name.startswith("without-"):
            report[name] = _unseen(experiment.held, answers[name])
        elif name not in folds:
            report[name] = _summary(experiment.held, answers[name])
    return report


def name_the_source(
    network: ServedNet, train_films: FilmDataset, test_films: FilmDataset
) -> dict[str, Any] | None:
    """How well the source of a film can be told from what the network sees in it: a logistic
    regression on what its gate looks at, trained on one split and asked on another. None where the
    data set has not two sources."""
    if len({film.source for film in train_films.films}) < 2:
        return None
    points, asked = (
        describe(network, films.images(SIZE), _CPU) for films in (train_films, test_films)
    )
    centre, scale = points.mean(0), points.std(0) + 1e-3
    sources = [film.source for film in train_films.films]
    probe = LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced")
    probe.fit(((points - centre) / scale).numpy(), sources)
    truths = np.array([film.source for film in test_films.films])
    return {
        "sources": sorted(set(sources)),
        "share_of_the_most_frequent": round(
            float(max((truths == source).mean() for source in set(truths))), 4
        ),
        **share(probe.predict(((asked - centre) / scale).numpy()) == truths, "accuracy"),
    }


def _answers(experiment: Experiment, weights: Path) -> Floats:
    """Probabilities (N, 3) of the held films."""
    network = ResidualNet(len(LABELS))
    network.load_state_dict(torch.load(weights, weights_only=True))
    films = FilmDataset(experiment.held, lungs_masked=experiment.lungs_masked)
    logits, _ = all_outputs(network.eval(), films, _CPU)
    found: Floats = torch.softmax(logits, 1).numpy()
    return found


def _folds(folds: Sequence[Experiment], answers: Sequence[Floats]) -> dict[str, Any]:
    """Five folds, as published: the mean of their accuracies, and all films together."""
    each = [
        float((truths_of(fold.held) == answer.argmax(1)).mean())
        for fold, answer in zip(folds, answers, strict=True)
    ]
    films = [film for fold in folds for film in fold.held]
    return {
        "accuracy_per_fold": [round(value, 4) for value in each],
        "mean_accuracy": round(float(np.mean(each)), 4),
        **_summary(films, np.concatenate(answers)),
    }


def _summary(films: Sequence[Film], answers: Floats) -> dict[str, Any]:
    truths = truths_of(films)

    def compute(chosen: Ints) -> Figures:
        return decisions(truths[chosen], answers[chosen].argmax(1))

    found = with_intervals(compute, [film.unit for film in films])
    kept = ("accuracy", "balanced accuracy", *(f"sensitivity {label}" for label in LABELS))
    return {
        "films": len(films),
        "confusion_matrix": confusion_matrix(truths, answers.argmax(1)),
        **{name: found[name] for name in kept},
    }


def _unseen(films: Sequence[Film], answers: Floats) -> dict[str, Any]:
    """Areas under curves within one unseen source, and between two that are both unseen; and how
    many normal films are called ill."""
    truths = truths_of(films)
    sources = np.array([film.source for film in films])

    def compute(chosen: Ints) -> Figures:
        truth, answer, source = truths[chosen], answers[chosen], sources[chosen]
        found = within_source(truth, answer, list(source), least=1)
        together = within_source(truth, answer, ["unseen sources together"] * len(truth), least=1)
        normal = truth == LABELS.index("normal")
        ill = answer[normal].argmax(1) != LABELS.index("normal")
        return {**found, **together, "normal called ill": float(ill.mean()) if normal.any() else 0}

    least = within_source(truths, answers, list(sources))
    found = with_intervals(compute, [film.unit for film in films])
    return {
        name: value
        for name, value in found.items()
        if name in least or "together" in name or name == "normal called ill"
    }
