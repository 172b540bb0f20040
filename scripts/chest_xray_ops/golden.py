"""Golden answers: what a version says of drawn pictures, carried in its archive, so that whoever
loads it can tell whether it answers there as it did where it was built."""

import base64
import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chest_xray_versions import load_network

FILE = "golden.json"
TOLERANCE = 0.02
"""By how much a probability may differ: processors compute in several precisions."""
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


def answers(version: str, weights: Path) -> str:
    """The file of a version with these weights.

    Raises:
        ValueError: they are not this network's.
    """
    import torch  # here, since whoever only reads the answers does without

    from chest_xray.transform import to_tensor

    # In double precision every processor gives the same digits.
    served = load_network(version, weights).double()
    pictures = [_draw(seed) for seed in range(_COUNT)]
    with torch.inference_mode():
        logits = served.network(torch.stack([to_tensor(each) for each in pictures]).double())
        rows = torch.softmax(logits / served.temperature + served.bias, dim=1).tolist()
    found = [
        Golden(
            _png(picture),
            {label: round(share, _DIGITS) for label, share in zip(served.labels, row, strict=True)},
        )
        for picture, row in zip(pictures, rows, strict=True)
    ]
    return json.dumps([asdict(each) for each in found], indent=1)


def read(archive: Path) -> list[Golden]:
    """The golden answers of an archive.

    Raises:
        ValueError: it has none.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            found = [Golden(**each) for each in json.loads(file.read(FILE))]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive} has no golden answers: {error}") from None
    if not found:
        raise ValueError(f"{archive} has no golden answers")
    return found


def _draw(seed: int) -> NDArray[np.uint8]:
    """uint8 (256, 256): a bright body with two darker fields, as different as seeds are."""
    y, x = np.mgrid[0 : 1 : _SIDE * 1j, 0 : 1 : _SIDE * 1j]
    chance = np.random.default_rng(seed)
    picture = 150 + 40 * np.sin((4 + 2 * seed) * y) * np.cos((2 + seed) * x)
    for centre in (0.3, 0.7):
        inside = ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.36) ** 2 < 1
        picture = np.where(inside, picture * chance.uniform(0.3, 0.7), picture)
    found: NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return found


def _png(gray: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    # Stored, not deflated: the same bytes whatever zlib is there.
    Image.fromarray(gray).save(file, "PNG", compress_level=0)
    return base64.b64encode(file.getvalue()).decode()
