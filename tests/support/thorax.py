"""A drawn chest film that passes for one: the documents' example, taken from no patient."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SEED = 7
_GAP = 8  # pixels
_RIBS = 9
_LEFT, _RIGHT = 1, -1  # of the patient, whose left is on the reader's right

Plane = NDArray[np.float64]


def draw_thorax(side: int = 448) -> NDArray[np.uint8]:
    """uint8 (side, side): lungs, ribs, heart and a faint opacity, always the same."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    away = abs(x - 0.5)  # from the midline
    shoulders = 0.12 + 0.33 * ((y - 0.02) / 0.09).clip(0, 1) ** 2
    flanks = 0.31 + 0.14 * ((y - 0.02) / 0.25).clip(0, 1) ** 0.5
    body = _inside(away - np.where(y < 0.11, shoulders, flanks), 0.012)
    lungs = np.maximum(_lung(x, y, 0.30, 0.80), _lung(x, y, 0.70, 0.78))

    film = 20 + body * (115 + 25 * y) * (1 - 0.64 * lungs)
    film += body * (26 * _inside(away - 0.032, 0.010) + 24 * _inside(away - 0.05 - 0.02 * y, 0.015))
    heart = ((x - 0.565) / 0.125) ** 2 + ((y - 0.64) / 0.14) ** 2
    film += 58 * _inside(heart - 1, 0.08) * (lungs + 0.25 * (1 - lungs)) * _inside(y - 0.79, 0.02)
    for half in (_LEFT, _RIGHT):
        film += _hilum(x, y, half) * lungs
        out = half * (x - 0.5)  # from the midline towards this side
        for rib in range(_RIBS):
            arch = np.sqrt((1 - ((out - 0.02) / 0.36) ** 2).clip(0))
            film += 13 * lungs * _line(y, 0.21 + 0.075 * rib - 0.10 * arch + 0.9 * out**2, out)
        film += 20 * body * _line(y, 0.17 - 0.13 * out + 0.02 * np.sin(9 * out), out)
    film += 52 * lungs * np.exp(-(((x - 0.29) / 0.075) ** 2) - ((y - 0.64) / 0.075) ** 2)

    random = np.random.default_rng(_SEED)
    coarse = Image.fromarray(random.normal(0, 4, (12, 12)).astype(np.float32))
    film += body * np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    film += random.normal(0, 2.2, film.shape)
    return film.clip(0, 255).astype(np.uint8)


def _inside(distance: Plane, blur: float) -> Plane:
    """1 where the distance to an outline is below 0, 0 beyond it, and a soft step between."""
    return 1 / (1 + np.exp((distance / blur).clip(-40, 40)))


def _lung(x: Plane, y: Plane, centre: float, bottom: float) -> Plane:
    top = 0.13
    height = (2 * y - top - bottom) / (bottom - top)  # -1 to 1
    apex = np.sqrt((1 - (-height).clip(0, 1) ** 2.2).clip(0))
    width = 0.155 * apex * (0.95 + 0.12 * height)
    diaphragm = bottom - 0.07 + 0.10 * ((x - centre) / 0.17) ** 2
    return (
        _inside(abs(x - centre) - width, 0.012)
        * _inside(y - diaphragm, 0.008)
        * _inside(top - y, 0.015)
    )


def _hilum(x: Plane, y: Plane, half: int) -> Plane:
    """Vessels that fan out from the root of a lung."""
    out, down = half * (x - 0.5) - 0.085, y - 0.43
    distance = np.hypot(out, down)
    fan = (0.5 + 0.5 * np.cos(9 * np.arctan2(down, out) + 5 * np.sin(9 * distance))) ** 4
    return 34 * fan * np.exp(-distance / 0.13) + 30 * np.exp(-((distance / 0.05) ** 2))


def _line(y: Plane, course: Plane, out: Plane) -> Plane:
    """A bone along a course, on its side of the midline."""
    return np.where((out > 0.04) & (out < 0.36), np.exp(-(((y - course) / 0.011) ** 2)), 0)


def illustration(film: bytes, overlay: bytes) -> bytes:
    """The picture in the README: a film and its heat map, side by side, as a PNG file."""
    pictures = [Image.open(io.BytesIO(each)).convert("RGB") for each in (film, overlay)]
    width, height = pictures[1].size
    both = Image.new("RGB", (2 * width + _GAP, height), "white")
    both.paste(pictures[0].resize((width, height), Image.Resampling.LANCZOS), (0, 0))
    both.paste(pictures[1], (width + _GAP, 0))
    file = io.BytesIO()
    both.save(file, "PNG", optimize=True)
    return file.getvalue()
