"""The spellings that data sets use for a version's labels."""

import re
from collections.abc import Sequence

_ALIASES = {"covid": "covid19"}
"""What some data sets write instead, without punctuation."""


def parse_label(text: str, labels: Sequence[str]) -> str:
    """The label that a data set means by ``text`` (``NORMAL``, ``COVID-19``, ``Covid_19`` …).

    Raises:
        ValueError: it is none of ``labels`` in any spelling.
    """
    spellings = {_letters(label): label for label in labels}
    letters = _letters(text)
    try:
        return spellings[_ALIASES.get(letters, letters)]
    except KeyError:
        raise ValueError(f"unknown label {text!r}: expected one of {', '.join(labels)}") from None


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
