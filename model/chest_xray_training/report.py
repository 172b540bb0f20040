"""Films and probabilities -> the figures of one report."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from chest_xray_training.dataset import Film
from chest_xray_training.metrics import (
    Figures,
    Floats,
    Ints,
    accuracies,
    at_threshold,
    confusion_matrix,
    decisions,
    figures,
    reliability,
    truths_of,
    with_intervals,
    within_source,
)

_AGES = ((0, 17), (18, 39), (40, 59), (60, 120))
_LEAST = 10
"""The films that a subgroup needs to be reported."""


def evaluate(
    films: Sequence[Film],
    probabilities: Floats,
    points: Mapping[str, Mapping[str, float]],
    labels: Sequence[str],
) -> dict[str, Any]:
    """The figures of one split.

    Args:
        points: the thresholds of every label's probability, by the operating point's name.
    """
    truths = truths_of(films, labels)
    units = [film.unit for film in films]
    predicted = probabilities.argmax(1)

    def chosen(rows: Ints) -> Figures:
        return figures(truths[rows], probabilities[rows], labels)

    sources = np.array([film.source for film in films])

    def inside(rows: Ints) -> Figures:
        return within_source(
            truths[rows], probabilities[rows], list(sources[rows]), labels, least=1
        )

    known = within_source(truths, probabilities, list(sources), labels)
    within = {name: row for name, row in with_intervals(inside, units).items() if name in known}
    return {
        "films": len(films),
        "patients": len(set(units)),
        "table": accuracies(truths, predicted, labels),
        "confusion_matrix": {
            "labels": list(labels),
            "rows_true_columns_predicted": confusion_matrix(truths, predicted, len(labels)),
        },
        "figures": with_intervals(chosen, units),
        "within_source_auroc": within,
        "reliability": [
            {name: round(value, 6) for name, value in row.items()}
            for row in reliability(truths, probabilities)
        ],
        "operating_points": _operating_points(films, probabilities, points),
        "subgroups": _subgroups(films, probabilities, labels),
    }


def _operating_points(
    films: Sequence[Film], probabilities: Floats, points: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    truths, units = truths_of(films, list(points)), [film.unit for film in films]

    def reached(index: int, threshold: float, chosen: Ints) -> Figures:
        sensitivity, specificity = at_threshold(
            truths[chosen] == index, probabilities[chosen, index], threshold
        )
        return {"sensitivity": sensitivity, "specificity": specificity}

    return {
        label: {
            name: {
                "threshold": round(threshold, 6),
                **with_intervals(partial(reached, index, threshold), units),
            }
            for name, threshold in thresholds.items()
        }
        for index, (label, thresholds) in enumerate(points.items())
    }


def _subgroups(
    films: Sequence[Film], probabilities: Floats, labels: Sequence[str]
) -> dict[str, Any]:
    truths, predicted = truths_of(films, labels), probabilities.argmax(1)
    kept = ("accuracy", "balanced accuracy", *(f"sensitivity {label}" for label in labels))
    found: dict[str, Any] = {}
    for kind, name, members in _groups(films):
        if len(members) < _LEAST:
            continue
        part, units = np.array(members), [films[index].unit for index in members]

        def chosen(rows: Ints, part: Ints = part) -> Figures:
            every = decisions(truths[part[rows]], predicted[part[rows]], labels)
            return {figure: every[figure] for figure in kept}

        counts = {label: int((truths[part] == i).sum()) for i, label in enumerate(labels)}
        found.setdefault(kind, {})[name] = {
            "films": len(members),
            "per_label": counts,
            **with_intervals(chosen, units),
        }
    return found


def _groups(films: Sequence[Film]) -> Iterator[tuple[str, str, list[int]]]:
    """The kind, name and film indices of every subgroup, those that are not stated included."""
    kinds = {
        "age group": [film.age_group for film in films],
        "sex": [film.sex for film in films],
        "age": [_age_band(film.age) for film in films],
        "view": [film.view for film in films],
        "source": [film.source for film in films],
    }
    for kind, values in kinds.items():
        for value in sorted(set(values)):
            yield kind, value or "not stated", [i for i, v in enumerate(values) if v == value]


def _age_band(age: float | None) -> str:
    bands = (f"{low} to {high}" for low, high in _AGES if age is not None and low <= age < high + 1)
    return next(bands, "")
