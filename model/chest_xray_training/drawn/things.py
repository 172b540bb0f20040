"""Brightness alone, and things that are no medical images."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from chest_xray.transform import SIZE
from chest_xray_training.drawn.canvas import (
    Chance,
    Material,
    Picture,
    X,
    Y,
    fractal,
    resized,
    slope,
    spread,
    waves,
    words,
)


def plain(m: Material) -> Picture:
    """A blank picture, or a slope."""
    if m.chance.random() < 0.5:
        grain = m.chance.normal(0, m.chance.choice([0, 0.01, 0.03]), (SIZE, SIZE))
        return grain + m.uniform(0, 1)
    return slope(m.chance) ** m.uniform(0.3, 3) * m.uniform(0.1, 1)


def noise(m: Material) -> Picture:
    """Independent values, in fine or coarse squares."""
    side = int(2 ** m.uniform(1.5, 7.8))
    values = (
        m.chance.random((side, side)),
        m.chance.normal(0.5, 0.2, (side, side)),
        m.chance.random((side, side)) < m.uniform(0.02, 0.5),
        m.chance.exponential(0.2, (side, side)),
    )[m.chance.integers(4)]
    smooth = Image.Resampling.NEAREST if m.chance.random() < 0.4 else Image.Resampling.BICUBIC
    return resized(values.astype(float), SIZE, smooth).clip(0, 1) * m.uniform(0.1, 1)


def clouds(m: Material) -> Picture:
    """Fractal noise."""
    return fractal(m.chance) ** m.uniform(0.5, 2) * m.uniform(0.3, 1)


def stripes(m: Material) -> Picture:
    """Waves of several shapes."""
    return waves(m.chance)


def dead_leaves(m: Material) -> Picture:
    """Textured things of all sizes that cover each other: the statistics of photographs (Lee et
    al. 2001)."""
    chance = m.chance
    picture = fractal(chance) * chance.random() + slope(chance) * chance.random()
    for _ in range(int(np.exp(m.uniform(0.7, 5)))):
        mask = Image.new("L", (SIZE, SIZE))
        _draw_thing(chance, ImageDraw.Draw(mask))
        if chance.random() < 0.2:
            mask = mask.filter(ImageFilter.GaussianBlur(m.uniform(0.5, 6)))
        share = np.asarray(mask) / 255
        shade = 1.4 * chance.random() + m.uniform(0, 0.8) * (m.texture() - 0.5)
        shade = shade + m.uniform(-0.5, 0.5) * (X if chance.random() < 0.5 else Y)
        picture = picture * (1 - share) + shade * share
    return (spread(picture) * m.uniform(0.5, 1.2)).clip(0, 1) ** m.uniform(0.5, 2)


def _draw_thing(chance: Chance, draw: ImageDraw.ImageDraw) -> None:
    x, y = chance.uniform(-20, SIZE + 20, 2)
    radius, stretch = np.exp(chance.uniform(1.2, 4.6)), np.exp(chance.normal(0, 0.5))
    box = [x - radius, y - radius * stretch, x + radius, y + radius * stretch]
    kind = chance.integers(4)
    if kind == 0:
        draw.ellipse(box, fill=255)
    elif kind == 1:
        draw.rectangle(box, fill=255)
    elif kind == 2:
        turns = np.sort(chance.uniform(0, 2 * np.pi, int(chance.integers(3, 9))))
        far = radius * chance.uniform(0.3, 1.3, len(turns))
        draw.polygon(list(zip(x + far * np.cos(turns), y + far * np.sin(turns), strict=True)), 255)
    else:
        points = [tuple(chance.uniform(0, SIZE, 2)) for _ in range(int(chance.integers(2, 6)))]
        draw.line(points, fill=255, width=int(chance.integers(1, 9)))


def page(m: Material) -> Picture:
    """Text, boxes and curves, on paper or on a screen."""
    chance = m.chance
    light, dark = int(chance.integers(180, 256)), int(chance.integers(0, 120))
    paper, ink = (light, dark) if chance.random() < 0.7 else (dark // 2, light)
    side = int(chance.choice([224, 320, 448, 640]))
    image = Image.new("L", (side, side), paper)
    draw = ImageDraw.Draw(image)
    for _ in range(int(chance.integers(0, 6))):
        x, y, wide, high = chance.uniform(0, side, 4)
        fill = int(chance.integers(256)) if chance.random() < 0.5 else None
        draw.rectangle([x, y, x + 0.6 * wide, y + 0.4 * high], fill=fill, outline=ink)
    if chance.random() < 0.8:
        size = m.uniform(7, 40) * side / 448 + 3
        font = ImageFont.load_default(size)
        y, left = chance.uniform(0, 0.3 * side, 2)
        step, end = m.uniform(1, 2) * size, side * m.uniform(0.6, 1.2)
        while y < end:
            draw.text((left, y), words(chance, 90), fill=ink, font=font)
            y += step
    if chance.random() < 0.5:
        curve = side * (m.uniform(0.1, 0.6) + 0.3 * spread(chance.normal(size=60).cumsum()))
        places = np.linspace(0.1 * side, 0.9 * side, len(curve))
        draw.line(list(zip(places, curve, strict=True)), fill=ink, width=int(chance.integers(1, 4)))
        low, high = 0.1 * side, 0.9 * side
        draw.line([(low, low), (low, high), (high, high)], fill=ink)
    return resized(np.asarray(image) / 255, SIZE)
