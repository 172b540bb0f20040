"""Outcome -> the body of one row."""

from typing import Any

from chest_xray.batch import Outcome
from chest_xray.errors import InputError
from chest_xray.network.explanation import overlay
from chest_xray.prediction import DIGITS, Prediction, distribution
from chest_xray.request import Explanation


def body_of(outcome: Outcome, version: str, result_only: bool = False) -> dict[str, Any] | bytes:
    """What is sent back: a mapping, which TorchServe and its envelopes turn into JSON, or the PNG
    file of an overlay where one is asked for.

    Args:
        version: of the model that answers.
        result_only: answer predictions in the form of the original project.
    """
    answer, image = outcome.answer, outcome.image
    if isinstance(answer, InputError):
        error = {"code": answer.code, "type": answer.type, "message": answer.message}
        return {**error, **answer.details}
    heatmap = image.heatmap if image and outcome.explanation else None
    if outcome.explanation is Explanation.OVERLAY and image and image.film is not None:
        assert heatmap is not None
        return overlay(image.film, heatmap)
    if result_only:
        return {"result": {"label": answer.label, "probability": round(answer.probability, DIGITS)}}
    body: dict[str, Any] = {
        "label": answer.label,
        "probability": round(answer.probability, DIGITS),
        "probabilities": {
            label: round(value, DIGITS) for label, value in answer.probabilities.items()
        },
        "low_confidence": answer.low_confidence,
        **distribution(answer),
        "model_version": version,
    }
    if outcome.request and outcome.request.operating_points:
        body["operating_points"] = _operating_points(answer)
    if answer.warnings:
        body["warnings"] = list(answer.warnings)
    if heatmap is not None:
        body["heatmap"] = [[round(value, DIGITS) for value in row] for row in heatmap.tolist()]
    return body


def _operating_points(answer: Prediction) -> dict[str, Any]:
    """Per label and operating point the threshold, and whether the label's probability reaches
    it."""
    return {
        label: {
            name: {
                "threshold": round(threshold, DIGITS),
                "reached": answer.probabilities[label] >= threshold,
            }
            for name, threshold in thresholds.items()
        }
        for label, thresholds in answer.thresholds.items()
    }
