"""Synthetic films: drawn, never taken from a patient."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LABELS = ("normal", "pneumonia", "covid-19")
"""The labels of versions 1.0 to 4.0."""


def draw_film(seed: int, height: int = 300, width: int = 260) -> NDArray[np.uint8]:
    """uint8 (H, W): two dark ellipses in a brighter body, with noise; differs by seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height, x / width
    picture = 150 + 40 * np.sin(6 * y + seed)
    for centre in (0.3, 0.7):
        inside = ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.36) ** 2 < 1
        picture = np.where(inside, picture * (0.3 + 0.3 * random.random()), picture)
    picture = picture + random.normal(0, 4, (height, width))
    return picture.clip(0, 255).astype(np.uint8)


def encode(gray: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:
    """A JPEG or PNG file of the picture, in another colour mode if asked."""
    image = Image.fromarray(gray)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def forms(gray: NDArray[np.uint8]) -> dict[str, bytes]:
    """The same picture as PNG in every form that keeps it exactly."""
    image = Image.fromarray(gray)
    palette = Image.fromarray(gray)
    palette.putpalette([value for level in range(256) for value in (level,) * 3])
    pictures = {
        "grey": image,
        "grey + alpha": image.convert("LA"),
        "RGB": image.convert("RGB"),
        "RGBA": image.convert("RGBA"),
        "palette": palette,
        "16-bit x257": Image.fromarray(gray.astype(np.uint16) * 257),
        "16-bit x256": Image.fromarray(gray.astype(np.uint16) * 256),
    }
    result = {}
    for name, picture in pictures.items():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        result[name] = buffer.getvalue()
    return result
