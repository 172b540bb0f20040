"""What the network read -> prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DIGITS = 6
"""Of every number in an answer: enough to compare with an offline run, short enough to read."""


@dataclass(frozen=True)
class Prediction:
    """The label of one film and the probabilities it was chosen by."""

    label: str
    """The most probable label."""

    probabilities: dict[str, float]
    """Probability of every label, 0 to 1; they sum to 1."""

    score: float
    """How much the image looks like a frontal chest film, 0 to 1."""

    warnings: tuple[str, ...] = ()
    """Codes of what the caller should know about the image."""

    @property
    def probability(self) -> float:
        """Probability of ``label``, 0 to 1."""
        return self.probabilities[self.label]

    @property
    def in_distribution(self) -> bool:
        """Whether it is an image of the kind that the network was made for."""
        return self.score >= 0.5


def predict(readings: Tensor, labels: Sequence[str]) -> list[Prediction]:
    """Softmax, since the labels exclude each other.

    Args:
        readings: float (N, labels + 1 or more), as :class:`ServedNet` gives them.
        labels: in the order of the network's outputs.
    """
    wide = readings if readings.dtype == torch.float64 else readings.float()
    count = len(labels)
    rows = torch.softmax(wide[:, :count], dim=1).tolist()
    scores = torch.sigmoid(wide[:, count]).tolist()
    predictions = []
    for row, score in zip(rows, scores, strict=True):
        probabilities = dict(zip(labels, row, strict=True))
        label = max(labels, key=probabilities.__getitem__)
        predictions.append(Prediction(label, probabilities, score))
    return predictions


def distribution(prediction: Prediction) -> dict[str, Any]:
    """What an answer says about the kind of image, whether or not it has a label."""
    return {
        "in_distribution": prediction.in_distribution,
        "in_distribution_score": round(prediction.score, DIGITS),
    }
