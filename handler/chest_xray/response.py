"""Prediction or InputError -> the body of one row."""

from typing import Any

from torch import Tensor

from chest_xray.batch import Outcome
from chest_xray.errors import InputError
from chest_xray.prediction import DIGITS, distribution


def render(outcome: Outcome, model_version: str, heatmap: Tensor | None = None) -> dict[str, Any]:
    """The body as a mapping; TorchServe and its envelopes turn it into JSON.

    Args:
        heatmap: float32 (h, w) of an explanation.
    """
    if isinstance(outcome, InputError):
        error = {"code": outcome.code, "type": outcome.type, "message": outcome.message}
        return {**error, **outcome.details}
    body: dict[str, Any] = {
        "label": outcome.label,
        "probability": round(outcome.probability, DIGITS),
        "probabilities": {
            label: round(value, DIGITS) for label, value in outcome.probabilities.items()
        },
        **distribution(outcome),
        "model_version": model_version,
    }
    if outcome.warnings:
        body["warnings"] = list(outcome.warnings)
    if heatmap is not None:
        body["heatmap"] = [[round(value, DIGITS) for value in row] for row in heatmap.tolist()]
    return body


def result_only(body: dict[str, Any]) -> dict[str, Any]:
    """A prediction as the original project answered it; an error as it is."""
    if "label" not in body:
        return body
    return {"result": {"label": body["label"], "probability": body["probability"]}}
