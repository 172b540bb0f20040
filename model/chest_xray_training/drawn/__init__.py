"""Images that are no frontal chest films, drawn by code, which the gate learns to refuse; and films
as other people store them, which it must not refuse.

Every kind of picture has a function of its own.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from chest_xray.transform import SIZE
from chest_xray_training.drawn.canvas import (
    Material,
    Picture,
    Pixels,
    as_pixels,
    fractal,
    resized,
    waves,
)
from chest_xray_training.drawn.mangled import mangled
from chest_xray_training.drawn.scans import head, limb, trunk, ultrasound
from chest_xray_training.drawn.things import clouds, dead_leaves, noise, page, plain, stripes
from chest_xray_training.drawn.variants import as_stored_elsewhere

__all__ = ["as_stored_elsewhere", "no_films"]

_KINDS: tuple[tuple[Callable[[Material], Picture], float], ...] = (
    (plain, 6), (noise, 5), (clouds, 3), (stripes, 6), (dead_leaves, 23), (page, 14), (trunk, 7),
    (head, 4), (ultrasound, 4), (limb, 4), (mangled, 25),
)  # fmt: skip
"""Every kind of picture, and how often it is drawn."""


def no_films(films: Sequence[Pixels], count: int, seed: int) -> Iterator[Pixels]:
    """Draw ``count`` images uint8 (224, 224) of every kind; a quarter of them are mangled films."""
    chance = np.random.default_rng(seed)
    textures = [fractal(chance) for _ in range(24)] + [waves(chance) for _ in range(6)]
    odds = np.array([share for _, share in _KINDS])
    for _ in range(count):
        kind = _KINDS[chance.choice(len(_KINDS), p=odds / odds.sum())][0]
        picture = kind(Material(chance, films, textures))
        if chance.random() < 0.1:
            picture = resized(resized(picture, int(chance.integers(40, 150))), SIZE)
        yield as_pixels(picture)
