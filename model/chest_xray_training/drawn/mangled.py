"""Films that were changed so much that they are none any more."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from chest_xray.transform import SIZE
from chest_xray_training.drawn.canvas import (
    Material,
    Picture,
    grid,
    inverse,
    resized,
)
from chest_xray_training.drawn.things import dead_leaves, noise, page, plain


def mangled(m: Material) -> Picture:
    """A film, mangled in one of many ways."""
    way = _WAYS[m.chance.integers(len(_WAYS))]
    return way(m, m.film())


def _sideways(m: Material, film: Picture) -> Picture:
    return np.rot90(film, m.chance.choice([1, 3]))


def _upside_down(m: Material, film: Picture) -> Picture:
    return film[::-1]


def _negative(m: Material, film: Picture) -> Picture:
    return 1 - film


def _small_part(m: Material, film: Picture) -> Picture:
    side = int(SIZE * m.uniform(0.12, 0.33))
    top, left = m.chance.integers(0, SIZE - side, 2)
    return resized(film[top : top + side, left : left + side], SIZE)


def _one_lung(m: Material, film: Picture) -> Picture:
    """As wide as a film: the nearest that frontal films come to lateral ones."""
    width = int(SIZE * m.uniform(0.3, 0.52))
    return resized(film[:, :width] if m.chance.random() < 0.5 else film[:, -width:], SIZE)


def _upper_or_lower_part(m: Material, film: Picture) -> Picture:
    height = int(SIZE * m.uniform(0.3, 0.48))
    return resized(film[:height] if m.chance.random() < 0.5 else film[-height:], SIZE)


def _halves_exchanged(m: Material, film: Picture) -> Picture:
    return np.roll(film, SIZE // 2, axis=1)


def _shuffled(m: Material, film: Picture) -> Picture:
    count = int(m.chance.choice([2, 3, 4, 7, 8, 14]))
    side = SIZE // count
    tiles = [
        film[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(count)
        for column in range(count)
    ]
    order = m.chance.permutation(len(tiles))
    return resized(grid([tiles[each] for each in order], count), SIZE)


def _contact_sheet(m: Material, film: Picture) -> Picture:
    count = int(m.chance.integers(2, 4))
    films = [resized(m.film(), SIZE // count) for _ in range(count**2)]
    return resized(grid(films, count), SIZE)


def _thumbnail_in_something(m: Material, film: Picture) -> Picture:
    picture: Picture = (page, dead_leaves, plain, noise)[m.chance.integers(4)](m).copy()
    side = int(SIZE * m.uniform(0.2, 0.55))
    top, left = m.chance.integers(0, SIZE - side, 2)
    picture[top : top + side, left : left + side] = resized(film, side)
    return picture


def _half_gone(m: Material, film: Picture) -> Picture:
    turns = int(m.chance.integers(4))
    picture = np.rot90(film, turns).copy()
    picture[: int(SIZE * m.uniform(0.45, 0.75))] = m.chance.choice([0, 1, m.chance.random()])
    return np.rot90(picture, -turns)


def _too_coarse(m: Material, film: Picture) -> Picture:
    small = resized(film, int(m.chance.integers(2, 9)))
    return resized(small, SIZE, Image.Resampling.BICUBIC)


def _without_phase(m: Material, film: Picture) -> Picture:
    phase = np.angle(np.fft.rfft2(m.chance.random(film.shape)))
    return inverse(np.abs(np.fft.rfft2(film)) * np.exp(1j * phase))


def _edges(m: Material, film: Picture) -> Picture:
    steps = np.abs(np.diff(film, axis=0, append=0)) + np.abs(np.diff(film, axis=1, append=0))
    picture = (steps * m.uniform(3, 9)).clip(0, 1)
    return picture if m.chance.random() < 0.6 else 1 - picture


def _drowned_in_noise(m: Material, film: Picture) -> Picture:
    return m.chance.random(film.shape) * m.uniform(0.8, 1) + film * m.uniform(0, 0.15)


def _mirrored_in_itself(m: Material, film: Picture) -> Picture:
    """One half and its mirror image, outside in or inside out."""
    fold = np.abs(2 * np.arange(SIZE) - (SIZE - 1))
    columns = fold if m.chance.random() < 0.5 else SIZE - 1 - fold
    return film[:, columns] if m.chance.random() < 0.5 else film[columns]


_WAYS: tuple[Callable[[Material, Picture], Picture], ...] = (
    _sideways, _sideways, _upside_down, _negative, _small_part, _one_lung, _upper_or_lower_part,
    _halves_exchanged, _shuffled, _contact_sheet, _thumbnail_in_something, _half_gone, _too_coarse,
    _without_phase, _edges, _drowned_in_noise, _mirrored_in_itself,
)  # fmt: skip
