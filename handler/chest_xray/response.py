"""Prediction or InputError -> the JSON body of one row."""

from typing import Any

from chest_xray.errors import InputError
from chest_xray.prediction import Prediction

_DIGITS = 6  # of a probability: enough to compare with an offline run, short enough to read


def render(outcome: Prediction | InputError, model_version: str) -> dict[str, Any]:
    """The body as a mapping; TorchServe and its envelopes turn it into JSON."""
    if isinstance(outcome, InputError):
        return {"code": outcome.code, "type": outcome.type, "message": outcome.message}
    return {
        "label": outcome.label,
        "probability": round(outcome.probability, _DIGITS),
        "probabilities": {
            label: round(value, _DIGITS) for label, value in outcome.probabilities.items()
        },
        "model_version": model_version,
    }
