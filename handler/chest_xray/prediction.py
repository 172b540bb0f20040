"""What the network read -> prediction."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from chest_xray.network.stages import OPERATING_POINTS, SURE, ServedNet

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

    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of every label's probability, by the name of the operating point."""

    warnings: tuple[str, ...] = ()
    """Codes of what the caller should know about the image."""

    @property
    def probability(self) -> float:
        """Probability of ``label``, 0 to 1."""
        return self.probabilities[self.label]

    @property
    def low_confidence(self) -> bool:
        """Whether the probability is below the label's operating point of high specificity: from
        there on, at most one in twenty validation films of another label is given this one."""
        return self.probability < self.thresholds[self.label]["high_specificity"]

    @property
    def in_distribution(self) -> bool:
        """Whether it is an image of the kind that the network was made for."""
        return self.score >= 0.5


class Outputs:
    """What the numbers mean that a version's network gives."""

    def __init__(self, network: ServedNet) -> None:
        self.labels, self._orientations = network.labels, network.orientations
        points = network.operating_points.tolist()
        self.thresholds: dict[str, dict[str, float]] = {
            label: dict(zip(OPERATING_POINTS, row, strict=True))
            for label, row in zip(self.labels, points, strict=True)
        }

    def predictions(self, readings: Tensor) -> list[Prediction]:
        """Softmax, since the labels exclude each other.

        Args:
            readings: float (N, outputs), as :class:`ServedNet` gives them.
        """
        wide = readings if readings.dtype == torch.float64 else readings.float()
        count = len(self.labels)
        rows = torch.softmax(wide[:, :count], dim=1).tolist()
        scores = torch.sigmoid(wide[:, count]).tolist()
        predictions = []
        for row, score, lies in zip(rows, scores, self._lying(wide[:, count + 1 :]), strict=True):
            probabilities = dict(zip(self.labels, row, strict=True))
            label = max(self.labels, key=probabilities.__getitem__)
            predictions.append(Prediction(label, probabilities, score, self.thresholds, lies))
        return predictions

    def _lying(self, logits: Tensor) -> list[tuple[str, ...]]:
        """A warning for each film that surely does not lie as it should; none if the network
        cannot say."""
        if not self._orientations:
            return [()] * len(logits)
        shares, indices = logits.softmax(1).max(1)
        return [
            (self._orientations[index],) if index and share > SURE else ()
            for share, index in zip(shares.tolist(), indices.tolist(), strict=True)
        ]


def distribution(prediction: Prediction) -> dict[str, Any]:
    """What an answer says about the kind of image, whether or not it has a label."""
    return {
        "in_distribution": prediction.in_distribution,
        "in_distribution_score": round(prediction.score, DIGITS),
    }
