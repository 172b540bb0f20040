"""Prediction or InputError -> the body of one row, and the line that the log gets."""

import hashlib
from typing import Any

from torch import Tensor

from chest_xray.batch import Outcome, Row
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


def refusal(request_id: str, row: Row, error: InputError) -> str:
    """A log line for a row without a prediction: nothing that its caller sent, and no address.

    A host's hash (12 hex digits of its SHA-256) tells an operator which of the hosts he knows it
    was. The request's id is the one that the caller got in ``x-request-id``.
    """
    line = f"refused request={request_id} code={error.code} bytes={row.size}"
    if row.host:
        line += f" host={hashlib.sha256(row.host.encode(errors='replace')).hexdigest()[:12]}"
    return line
