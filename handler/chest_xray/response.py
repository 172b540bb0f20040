"""Prediction or InputError -> the JSON body of one row, and the line that the log gets."""

import hashlib
from typing import Any

from chest_xray.batch import Row
from chest_xray.errors import InputError
from chest_xray.prediction import Prediction

_DIGITS = 6  # of a probability: enough to compare with an offline run, short enough to read


def render(outcome: Prediction | InputError, model_version: str) -> dict[str, Any]:
    """The body as a mapping; TorchServe and its envelopes turn it into JSON."""
    if isinstance(outcome, InputError):
        return {"code": outcome.code, "type": outcome.type, "message": outcome.message}
    body = {
        "label": outcome.label,
        "probability": round(outcome.probability, _DIGITS),
        "probabilities": {
            label: round(value, _DIGITS) for label, value in outcome.probabilities.items()
        },
        "model_version": model_version,
    }
    return {**body, "warnings": list(outcome.warnings)} if outcome.warnings else body


def refusal(request_id: str, row: Row) -> str:
    """A log line for a row without a prediction: nothing that its caller sent, and no address.

    A host's hash (12 hex digits of its SHA-256) tells an operator which of the hosts he knows it
    was. The request's id is the one that the caller got in ``x-request-id``.
    """
    code = row.error.code if row.error else "none"
    line = f"refused request={request_id} code={code} bytes={row.size}"
    if row.host:
        line += f" host={hashlib.sha256(row.host.encode(errors='replace')).hexdigest()[:12]}"
    return line
