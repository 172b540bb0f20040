"""What pictures are drawn with.

Pictures are float (224, 224), about 0 to 1, until they are turned into pixels at the end.
"""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chest_xray.transform import SIZE

Pixels = NDArray[np.uint8]
Picture = NDArray[Any]
Chance = np.random.Generator

Y, X = np.mgrid[0 : 1 : SIZE * 1j, 0 : 1 : SIZE * 1j]
_CHARACTERS = list(string.ascii_letters + string.digits + "    ..,-/:")


class Material:
    """What pictures are made of: chance, films and textures."""

    def __init__(
        self, chance: Chance, films: Sequence[Pixels], textures: Sequence[Picture]
    ) -> None:
        self.chance = chance
        self._films = films
        self._textures = textures

    def film(self) -> Picture:
        """Any of the films."""
        return self._films[int(self.chance.integers(len(self._films)))] / 255

    def texture(self) -> Picture:
        """Any of the textures."""
        return self._textures[int(self.chance.integers(len(self._textures)))]

    def uniform(self, low: float, high: float) -> float:
        """A number between the bounds."""
        return float(self.chance.uniform(low, high))


def fractal(chance: Chance, power: float | None = None) -> Picture:
    """Noise that is stronger the coarser it is; ``power`` says by how much."""
    power = chance.uniform(0.3, 2.2) if power is None else power
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    radius[0, 0] = 1
    spectrum: NDArray[Any] = np.fft.rfft2(chance.normal(size=(SIZE, SIZE))) / radius**power
    spectrum[0, 0] = 0
    return spread(inverse(spectrum))


def waves(chance: Chance) -> Picture:
    """Stripes, rings, spirals or checkerboards."""
    turn, arms = chance.uniform(0, 2 * np.pi), chance.integers(0, 5)
    u, v = chance.random(2)
    along = X * np.cos(turn) + Y * np.sin(turn)
    across = Y * np.cos(turn) - X * np.sin(turn)
    radius, angle = np.hypot(X - u, Y - v), np.arctan2(Y - v, X - u)
    phase = (along, radius, along * radius)[chance.integers(3)]
    picture = np.sin(2 * np.pi * chance.uniform(1, 40) * phase + arms * angle)
    if chance.random() < 0.5:
        picture = picture * np.sin(2 * np.pi * chance.uniform(1, 20) * across)
    return spread(np.sign(picture) if chance.random() < 0.4 else picture)


def ellipse(
    x: float, y: float, a: float, b: float, turn: float = 0.0, soft: float = 0.03
) -> Picture:
    """1 inside an ellipse, 0 outside, and something between at its edge."""
    along = (X - x) * np.cos(turn) + (Y - y) * np.sin(turn)
    across = (Y - y) * np.cos(turn) - (X - x) * np.sin(turn)
    beyond = (np.hypot(along / a, across / b) - 1) / soft
    inside: Picture = 1 / (1 + np.exp(beyond.clip(-50, 50)))
    return inside


def slope(chance: Chance) -> Picture:
    """Brightness that rises evenly in some direction, from 0 to 1."""
    turn = chance.uniform(0, 2 * np.pi)
    return spread(X * np.cos(turn) + Y * np.sin(turn))


def words(chance: Chance, most: int) -> str:
    """Fewer than ``most`` random characters."""
    return "".join(chance.choice(_CHARACTERS, int(chance.integers(1, most))))


def grid(tiles: Sequence[Picture], columns: int) -> Picture:
    """Tiles of one size next to and below each other."""
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def resized(
    picture: Picture, side: int, smooth: Image.Resampling = Image.Resampling.BILINEAR
) -> Picture:
    """The picture as a square of ``side`` pixels."""
    return np.asarray(Image.fromarray(picture.astype(np.float32)).resize((side, side), smooth))


def spread(values: Picture) -> Picture:
    """The values stretched to 0 to 1."""
    shifted = values - values.min()
    stretched: Picture = shifted / max(float(shifted.max()), 1e-6)
    return stretched


def as_pixels(picture: Picture) -> Pixels:
    """0 to 1 -> uint8 0 to 255."""
    pixels: Pixels = (picture * 255).round().clip(0, 255).astype(np.uint8)
    return pixels


def inverse(spectrum: NDArray[Any]) -> Picture:
    """The picture of a spectrum."""
    picture: Picture = np.fft.irfft2(spectrum, (SIZE, SIZE))
    return picture
