"""Golden answers: what a version says about drawn pictures. Its archive carries them, so that
whoever loads it can tell whether it answers there as it did where it was built."""

import base64
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chest_xray.archive import Archive
from chest_xray.errors import InputError

FILE = "golden.json"
TOLERANCE = 0.02
"""By how much a probability may differ, since processors serve in several precisions."""
_COUNT = 4
_SIDE = 256  # pixels
_DIGITS = 6


@dataclass(frozen=True)
class Golden:
    """A picture, and the answer that is right."""

    png: str
    """The encoded picture, as base64."""
    probabilities: dict[str, float]

    @property
    def request(self) -> dict[str, Any]:
        """The body that asks for it; no drawn picture is a film to the gate."""
        return {"data": self.png, "allowOutOfDistribution": True}

    def fault(self, answer: dict[str, Any], version: str) -> str:
        """What is wrong with an answer; empty if nothing is."""
        if answer.get("model_version") != version:
            return f"version {answer.get('model_version')} answered"
        found = answer["probabilities"]
        worst = max(abs(found[label] - share) for label, share in self.probabilities.items())
        return f"a probability differs by {worst:.3f}" if worst > TOLERANCE else ""


def answers(folder: Path) -> str:
    """The file of an unpacked archive, whose network answers in double precision: every processor
    gives the same digits then.

    Raises:
        FileNotFoundError, ValueError: as :meth:`Classifier.load` raises them.
    """
    from chest_xray.classifier import Classifier  # here, since reading answers needs no torch
    from chest_xray.request import InlineImage, Request

    pictures = [_png(_draw(seed)) for seed in range(_COUNT)]
    requests = [Request(InlineImage(png), allow_out_of_distribution=True) for png in pictures]
    with Classifier.load(folder, reference=True) as classifier:
        outcomes = classifier.classify(requests)
    cases = []
    for png, outcome in zip(pictures, outcomes, strict=True):
        if isinstance(outcome.answer, InputError):
            raise ValueError(f"a golden picture is refused: {outcome.answer.message}")
        shares = outcome.answer.probabilities.items()
        probabilities = {label: round(share, _DIGITS) for label, share in shares}
        cases.append(Golden(base64.b64encode(png).decode(), probabilities))
    return json.dumps([asdict(case) for case in cases], indent=1)


def read(archive: Archive) -> list[Golden]:
    """The golden answers of an archive.

    Raises:
        ValueError: it has none.
    """
    try:
        cases = [Golden(**case) for case in json.loads(archive.read(FILE))]
    except (OSError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise ValueError(f"{archive.path} has no golden answers: {error}") from None
    if not cases:
        raise ValueError(f"{archive.path} has no golden answers")
    return cases


def _draw(seed: int) -> NDArray[np.uint8]:
    """uint8 (256, 256): a bright body with two darker fields, which differ by seed."""
    y, x = np.mgrid[0 : 1 : _SIDE * 1j, 0 : 1 : _SIDE * 1j]
    chance = np.random.default_rng(seed)
    picture = 150 + 40 * np.sin((4 + 2 * seed) * y) * np.cos((2 + seed) * x)
    for centre in (0.3, 0.7):
        inside = ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.36) ** 2 < 1
        picture = np.where(inside, picture * chance.uniform(0.3, 0.7), picture)
    gray: NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return gray


def _png(gray: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    # Stored, not deflated, so that the bytes do not depend on zlib's version.
    Image.fromarray(gray).save(file, "PNG", compress_level=0)
    return file.getvalue()
