"""The one list of labels, and the spellings data sets use for them."""

import re

LABELS = ("normal", "pneumonia", "covid-19")
"""Label names in logit order."""

_SPELLINGS = {
    "normal": "normal",
    "pneumonia": "pneumonia",
    "covid19": "covid-19",
    "covid": "covid-19",
}


def parse_label(text: str) -> str:
    """The label a data set means by ``text`` (``NORMAL``, ``COVID-19``, ``Covid_19`` …).

    Raises:
        ValueError: ``text`` is none of the known spellings.
    """
    try:
        return _SPELLINGS[re.sub(r"[^a-z0-9]", "", text.lower())]
    except KeyError:
        raise ValueError(f"unknown label {text!r}: expected one of {', '.join(LABELS)}") from None
