"""Where answers are right and where not: figures of adults, of children, of the mixture that the
original project measured, and of every collection."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chest_xray_training.dataset import CHILDREN, Film
from chest_xray_training.metrics import (
    Floats,
    accuracies,
    calibration_error,
    decisions,
    rounded,
    share,
    truths_of,
)

ORIGINAL_REPORT = {"normal": 0.951, "pneumonia": 0.762, "covid-19": 0.944, "all": 0.87}
"""The accuracies that the original project reports, of its 936 films."""
_COVID = "covid-19"

Hits = NDArray[np.bool_]


def original_mixture(films: Sequence[Film]) -> list[Film]:
    """The films of the kinds that the original project had: children's, and those with covid-19."""
    return [film for film in films if film.source == CHILDREN or film.label == _COVID]


def by_group(
    films: Sequence[Film], probabilities: Floats, low: Hits, labels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The original project's table, balanced accuracy, calibration error and what low confidence
    is worth: for films of adults, of children, of both, and of the original project's mixture, as
    far as there are such films.

    Args:
        probabilities: float (N, labels).
        low: bool (N,): the answer says that its confidence is low.
        labels: the names of the columns of ``probabilities``.
    """
    truths, mixture = truths_of(films, labels), {film.name for film in original_mixture(films)}
    children = np.array([film.source == CHILDREN for film in films])
    groups = {
        "collections of adults": ~children,
        "collection of children": children,
        "both": np.ones_like(children),
        "as the original project measured": np.array([film.name in mixture for film in films]),
    }
    found = {}
    for name, chosen in groups.items():
        if chosen.any():
            predicted = probabilities[chosen].argmax(1)
            right = predicted == truths[chosen]
            found[name] = {
                "films": int(chosen.sum()),
                "table": accuracies(truths[chosen], predicted, labels),
                "balanced_accuracy": rounded(
                    decisions(truths[chosen], predicted, labels)["balanced accuracy"]
                ),
                "calibration_error": rounded(
                    calibration_error(truths[chosen], probabilities[chosen])
                ),
                "low_confidence": share(low[chosen]),
                "right_if_confidence": {
                    "low": share(right[low[chosen]], "accuracy"),
                    "high": share(right[~low[chosen]], "accuracy"),
                },
            }
    return found


def by_source(
    films: Sequence[Film], probabilities: Floats, refused: Hits, labels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Per collection and label how many films are right, with sensitivity and specificity where
    they exist; calibration error; and how many films the gate refuses.

    Args:
        probabilities: float (N, labels).
        refused: bool (N,): by the gate.
    """
    truths, predicted = truths_of(films, labels), probabilities.argmax(1)
    sources = np.array([film.source for film in films])
    found = {}
    for source in sorted(set(sources)):
        chosen = sources == source
        right = truths[chosen] == predicted[chosen]
        every = decisions(truths[chosen], predicted[chosen], labels)
        found[source or "not stated"] = {
            "films": int(chosen.sum()),
            "right": {
                label: share(right[truths[chosen] == index], "accuracy")
                for index, label in enumerate(labels)
                if (truths[chosen] == index).any()
            },
            **{
                name.replace(" ", "_"): rounded(every[name])
                for label in labels
                for name in (f"sensitivity {label}", f"specificity {label}")
            },
            "calibration_error": rounded(calibration_error(truths[chosen], probabilities[chosen])),
            "refused": share(refused[chosen]),
        }
    return found


def original_table(groups: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of label, our accuracy with its interval, and the original project's, in percent; none
    if there are no such films."""
    found = groups.get("as the original project measured")
    if not found or not set(ORIGINAL_REPORT) <= set(found["table"]):
        return []
    return [
        [
            label,
            f"{100 * row['accuracy']:.1f} % ({100 * row['interval_95'][0]:.1f} to "
            f"{100 * row['interval_95'][1]:.1f}), {row['right']} / {row['count']}",
            f"{100 * ORIGINAL_REPORT[label]:.1f} %",
        ]
        for label, row in found["table"].items()
        if row["accuracy"] is not None
    ]
