"""Targets and predictions -> the figures of an evaluation."""

import math
from collections.abc import Sequence
from typing import Any

from chest_xray.labels import LABELS


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of ``right`` out of ``count`` (Wilson 1927); (0, 1) of none."""
    if not count:
        return 0.0, 1.0
    z = 1.959964  # 97.5 % quantile of the normal distribution
    share = right / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def confusion_matrix(truths: Sequence[str], predicted: Sequence[str]) -> list[list[int]]:
    """Counts, one row per true label, one column per predicted label, in the order of LABELS."""
    counts = [[0] * len(LABELS) for _ in LABELS]
    for truth, guess in zip(truths, predicted, strict=True):
        counts[LABELS.index(truth)][LABELS.index(guess)] += 1
    return counts


def summarise(truths: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """The original project's table: accuracy per label with counts, and overall.

    Accuracies are fractions in [0, 1], rounded to 4 digits, with 95 % Wilson intervals; a label
    without films has the accuracy null. ``balanced_accuracy`` is the mean over the labels present.
    """
    matrix = confusion_matrix(truths, predicted)
    per_label = {
        label: _share(row[index], sum(row))
        for index, (label, row) in enumerate(zip(LABELS, matrix, strict=True))
    }
    present = [row[index] / sum(row) for index, row in enumerate(matrix) if sum(row)]
    return {
        "per_label": per_label,
        "overall": _share(sum(matrix[i][i] for i in range(len(LABELS))), len(truths)),
        "balanced_accuracy": round(sum(present) / len(present), 4) if present else None,
        "confusion_matrix": {"labels": list(LABELS), "rows_true_columns_predicted": matrix},
    }


def _share(right: int, count: int) -> dict[str, Any]:
    return {
        "accuracy": round(right / count, 4) if count else None,
        "right": right,
        "count": count,
        "interval_95": [round(bound, 4) for bound in wilson_interval(right, count)],
    }
