"""Truths and probabilities -> the figures of an evaluation, with intervals.

Everywhere ``truths`` and ``predicted`` are int (N,), indices of labels, ``probabilities`` is float
(N, labels), and ``labels`` names its columns.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chest_xray.network.stages import OPERATING_POINTS
from chest_xray_training.dataset import Film

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Figures = dict[str, float]
"""A value per name; NaN where the films do not allow one."""

_BINS = 15  # of the calibration error, as Guo et al. 2017
_RESAMPLES = 1_000
_HIGH = 0.95  # sensitivity or specificity that an operating point is named for


def truths_of(films: Iterable[Film], labels: Sequence[str]) -> Ints:
    """int (N,): the index of each film's label."""
    return np.array([labels.index(film.label) for film in films])


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


def confusion_matrix(truths: Ints, predicted: Ints, count: int) -> list[list[int]]:
    """Counts of films: one row per true label and one column per predicted label, of ``count``
    labels."""
    counts = np.zeros((count, count), int)
    np.add.at(counts, (truths, predicted), 1)
    table: list[list[int]] = counts.tolist()
    return table


def accuracies(truths: Ints, predicted: Ints, labels: Sequence[str]) -> dict[str, Any]:
    """The original project's table: how many films are right, per label and overall, with Wilson
    intervals."""
    right = truths == predicted
    rows = {label: right[truths == index] for index, label in enumerate(labels)}
    return {name: share(row, "accuracy") for name, row in {**rows, "all": right}.items()}


def share(hits: NDArray[np.bool_], name: str = "share") -> dict[str, Any]:
    """The share of films that are hits, with its Wilson interval."""
    count, right = len(hits), int(hits.sum())
    return {
        name: round(right / count, 4) if count else None,
        "right" if name == "accuracy" else "films": right,
        "count": count,
        "interval_95": [round(bound, 4) for bound in wilson_interval(right, count)],
    }


def figures(truths: Ints, probabilities: Floats, labels: Sequence[str]) -> Figures:
    """Every scalar figure of one set of films."""
    found = decisions(truths, probabilities.argmax(1), labels)
    for index, label in enumerate(labels):
        positive = truths == index
        found[f"auroc {label}"] = auroc(positive, probabilities[:, index])
        found[f"auprc {label}"] = average_precision(positive, probabilities[:, index])
    found["ece"] = calibration_error(truths, probabilities)
    one_hot = np.eye(len(labels))[truths]
    found["brier"] = float(((probabilities - one_hot) ** 2).sum(1).mean())
    return found


def decisions(truths: Ints, predicted: Ints, labels: Sequence[str]) -> Figures:
    """The figures that follow from the predicted labels alone."""
    counts = np.array(confusion_matrix(truths, predicted, len(labels)))
    found: Figures = {"accuracy": _mean(truths == predicted)}
    per_label: dict[str, list[float]] = {"sensitivity": [], "f1": []}
    for index, label in enumerate(labels):
        hits, actual, called = counts[index, index], counts[index].sum(), counts[:, index].sum()
        others = counts.sum() - actual
        sensitivity = _ratio(hits, actual)
        per_label["sensitivity"].append(sensitivity)
        per_label["f1"].append(_ratio(2 * hits, actual + called))
        found[f"sensitivity {label}"] = sensitivity
        found[f"specificity {label}"] = _ratio(others - (called - hits), others)
        found[f"ppv {label}"] = _ratio(hits, called)
    found["balanced accuracy"] = float(np.nanmean(per_label["sensitivity"]))
    found["macro f1"] = float(np.nanmean(per_label["f1"]))
    return found


def auroc(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, where a tie counts
    half (Hanley and McNeil 1982); NaN unless both kinds are there."""
    positives, negatives = _by_score(positive, scores)
    below = negatives.cumsum() - negatives
    pairs = positives.sum() * negatives.sum()
    return _ratio((positives * (below + negatives / 2)).sum(), pairs)


def average_precision(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Area under the steps of the precision-recall curve; NaN unless both kinds are there."""
    positives, negatives = (counts[::-1] for counts in _by_score(positive, scores))
    if not (positives.any() and negatives.any()):
        return math.nan
    called = (positives + negatives).cumsum()
    return float((positives * positives.cumsum() / called).sum() / positives.sum())


def _by_score(positive: NDArray[np.bool_], scores: Floats) -> tuple[Ints, Ints]:
    """How many positives and negatives have each score, from the lowest. This is not left to a
    library, whose checks of arguments would take 15 s for the thousand resamples of an interval."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    positives = np.bincount(place[positive], minlength=len(counts))
    return positives, counts - positives


def reliability(truths: Ints, probabilities: Floats) -> list[dict[str, float]]:
    """Per bin of the answer's probability: its mean, the share that is right, and the count."""
    answers, right = probabilities.max(1), probabilities.argmax(1) == truths
    bins = np.minimum((answers * _BINS).astype(int), _BINS - 1)
    return [
        {
            "probability": float(answers[bins == number].mean()),
            "accuracy": float(right[bins == number].mean()),
            "count": int((bins == number).sum()),
        }
        for number in np.unique(bins)
    ]


def calibration_error(truths: Ints, probabilities: Floats) -> float:
    """Expected calibration error: the mean distance of the bins above, weighted by count."""
    rows = reliability(truths, probabilities)
    distances = [row["count"] * abs(row["probability"] - row["accuracy"]) for row in rows]
    return sum(distances) / len(truths)


def with_intervals(
    compute: Callable[[Ints], Mapping[str, float]], groups: Sequence[str], seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """Figures with 95 % percentile bootstrap intervals, drawn by patient (Efron 1979).

    Args:
        compute: the figures of the films with these indices, which may repeat.
        groups: the patient of each film; the films of one are drawn together.
    """
    names = np.array(groups)
    films_of = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    chance = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(_RESAMPLES):
        chosen = chance.integers(len(films_of), size=len(films_of))
        for name, value in compute(np.concatenate([films_of[index] for index in chosen])).items():
            drawn.setdefault(name, []).append(value)
    whole = compute(np.arange(len(groups)))
    return {
        name: {
            "value": rounded(value),
            "low": rounded(_quantile(drawn[name], 0.025)),
            "high": rounded(_quantile(drawn[name], 0.975)),
        }
        for name, value in whole.items()
    }


def within_source(
    truths: Ints,
    probabilities: Floats,
    sources: Sequence[str],
    labels: Sequence[str],
    least: int = 10,
) -> Figures:
    """AUROC of one label against another among the films of one source, which gives nothing away
    there.

    Args:
        sources: the source of each film.
        least: the films of either label that a source needs.
    """
    found = {}
    names = np.array(sources)
    for source in dict.fromkeys(sources):
        for a in range(len(labels)):
            for b in range(a):
                chosen = (names == source) & ((truths == a) | (truths == b))
                positive = truths[chosen] == a
                if min(positive.sum(), (~positive).sum()) >= least:
                    share = probabilities[chosen, a] / probabilities[chosen][:, [a, b]].sum(1)
                    found[f"{labels[a]} against {labels[b]}, {source}"] = auroc(positive, share)
    return found


def operating_points(
    truths: Ints, probabilities: Floats, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Thresholds on each label's probability, to be chosen on the validation split.

    ``high_sensitivity`` and ``high_specificity`` reach 95 % of what they are named for at the best
    of the other; ``balanced`` has the largest sum of both (Youden 1950).
    """
    chosen = {}
    for index, label in enumerate(labels):
        positive = truths == index
        best = dict.fromkeys(OPERATING_POINTS, (-1.0, 0.5))
        for threshold in np.unique(probabilities[:, index]):
            sensitivity, specificity = at_threshold(positive, probabilities[:, index], threshold)
            for point, reached, worth in (
                ("high_sensitivity", sensitivity >= _HIGH, specificity),
                ("balanced", True, sensitivity + specificity),
                ("high_specificity", specificity >= _HIGH, sensitivity),
            ):
                if reached and worth > best[point][0]:
                    best[point] = (worth, float(threshold))
        chosen[label] = {point: best[point][1] for point in OPERATING_POINTS}
    return chosen


def at_threshold(
    positive: NDArray[np.bool_], scores: Floats, threshold: float
) -> tuple[float, float]:
    """Sensitivity and specificity of calling positive what reaches the threshold."""
    called = scores >= threshold
    return _mean(called[positive]), _mean(~called[~positive])


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _quantile(values: list[float], share: float) -> float:
    return float(np.nanquantile(values, share)) if not np.isnan(values).all() else math.nan


def rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
