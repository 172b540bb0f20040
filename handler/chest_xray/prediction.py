"""logits -> prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from chest_xray.labels import LABELS


@dataclass(frozen=True)
class Prediction:
    """The label of one film and the probabilities it was chosen by."""

    label: str
    """The most probable label."""

    probabilities: dict[str, float]
    """Probability of every label, 0 to 1; they sum to 1."""

    warnings: tuple[str, ...] = ()
    """Codes of what the caller should know about the image."""

    @property
    def probability(self) -> float:
        """Probability of ``label``, 0 to 1."""
        return self.probabilities[self.label]


def predict(logits: Tensor) -> list[Prediction]:
    """Softmax, since the labels exclude each other.

    Args:
        logits: float, shape (N, 3), in the order of :data:`LABELS`.
    """
    rows = torch.softmax(logits.float(), dim=1).tolist()
    predictions = []
    for row in rows:
        probabilities = dict(zip(LABELS, row, strict=True))
        predictions.append(Prediction(max(LABELS, key=probabilities.__getitem__), probabilities))
    return predictions
