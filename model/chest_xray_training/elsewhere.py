"""Films as other hospitals make and as people pass them on, which the gate must let in.

A harder kind of what :func:`chest_xray_training.drawn.as_stored_elsewhere` makes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from chest_xray.transform import SIZE
from chest_xray_training.drawn import as_stored_elsewhere

Pixels = NDArray[np.uint8]
Picture = NDArray[Any]
_HARD = 0.6  # the share of variants that have one of the changes below


def as_met_elsewhere(chance: np.random.Generator, film: Pixels) -> Pixels:
    """A film uint8 (224, 224) with a white lung, with tubes and wires, of little contrast, tightly
    cropped, turned by up to 15 degrees, or photographed from a screen; and stored elsewhere."""
    if chance.random() < _HARD:
        film = _CHANGES[chance.integers(len(_CHANGES))](chance, film)
    return as_stored_elsewhere(chance, film)


def _white_lung(chance: np.random.Generator, film: Pixels) -> Pixels:
    """One side, or a part of it, filled up to the brightness of bones."""
    y, x = np.mgrid[0 : 1 : SIZE * 1j, 0 : 1 : SIZE * 1j]
    centre = chance.choice([0.28, 0.72]) + chance.uniform(-0.04, 0.04)
    middle, wide, high = (
        chance.uniform(0.3, 0.65),
        chance.uniform(0.1, 0.2),
        chance.uniform(0.15, 0.4),
    )
    beyond = np.hypot((x - centre) / wide, (y - middle) / high) - 1
    share = chance.uniform(0.5, 0.95) / (1 + np.exp((beyond / 0.15).clip(-30, 30)))
    bright = np.quantile(film, chance.uniform(0.7, 0.95))
    return _stored(film * (1 - share) + np.maximum(film, bright) * share)


def _tubes(chance: np.random.Generator, film: Pixels) -> Pixels:
    """One to five bent bright lines, and electrodes."""
    image = Image.fromarray(film)
    draw = ImageDraw.Draw(image)
    for _ in range(int(chance.integers(1, 6))):
        points = np.cumsum(
            np.vstack([chance.uniform(20, SIZE - 20, 2), chance.normal(0, 28, (5, 2))]), axis=0
        )
        steps = np.linspace(0, 5, 40)
        path = np.stack([np.interp(steps, range(6), points[:, axis]) for axis in (0, 1)], 1)
        shade = int(chance.integers(150, 256))
        draw.line([tuple(point) for point in path], fill=shade, width=int(chance.integers(1, 4)))
        if chance.random() < 0.5:
            u, v = path[-1]
            radius = chance.uniform(2, 6)
            draw.ellipse((u - radius, v - radius, u + radius, v + radius), fill=shade)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)))


def _flat(chance: np.random.Generator, film: Pixels) -> Pixels:
    """A fifth to a half of its contrast."""
    grey = chance.uniform(40, 215)
    return _stored((film - film.mean()) * chance.uniform(0.2, 0.5) + grey)


def _cropped(chance: np.random.Generator, film: Pixels) -> Pixels:
    """The lungs alone, with little around them, or with much of one side missing."""
    left, right, top, bottom = (SIZE * chance.uniform(0, 0.2, 4)).astype(int)
    part = Image.fromarray(film[top : SIZE - bottom, left : SIZE - right])
    return np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _turned(chance: np.random.Generator, film: Pixels) -> Pixels:
    image = Image.fromarray(film).rotate(
        chance.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=int(chance.integers(2) * 10)
    )
    return np.asarray(image)


def _photographed(chance: np.random.Generator, film: Pixels) -> Pixels:
    """From a screen or a light box: askew, glaring, with fine stripes and what is around it."""
    corners = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]]) + chance.uniform(
        0, 22, (4, 2)
    ) * ([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    image = Image.fromarray(film).transform(
        (SIZE, SIZE),
        Image.Transform.QUAD,
        tuple(corners.flatten()),
        Image.Resampling.BILINEAR,
        fillcolor=int(chance.integers(0, 256) if chance.random() < 0.5 else 0),
    )
    y, x = np.mgrid[0 : 1 : SIZE * 1j, 0 : 1 : SIZE * 1j]
    stripes = chance.uniform(0, 6) * np.sin(
        chance.uniform(150, 700) * (x + chance.normal(0, 0.3) * y)
    )
    u, v = chance.random(2)
    glare = chance.uniform(0, 70) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 0.05)
    return _stored(np.asarray(image) + stripes + glare)


def _stored(picture: Picture) -> Pixels:
    stored: Pixels = picture.round().clip(0, 255).astype(np.uint8)
    return stored


_CHANGES = (_white_lung, _tubes, _flat, _cropped, _turned, _photographed)
