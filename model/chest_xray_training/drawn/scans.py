"""Other medical images, as they look from afar."""

import numpy as np

from chest_xray_training.drawn.canvas import (
    Material,
    Picture,
    X,
    Y,
    ellipse,
    fractal,
    spread,
)


def trunk(m: Material) -> Picture:
    """A slice of chest or belly: rim, organs, spine, maybe lungs."""
    x, y = m.uniform(0.45, 0.55), m.uniform(0.45, 0.55)
    wide, high = m.uniform(0.33, 0.5), m.uniform(0.22, 0.42)
    body = ellipse(x, y, wide, high, soft=0.015)
    inner = ellipse(x, y, 0.92 * wide, 0.9 * high, soft=0.02)
    picture = body * m.uniform(0.3, 0.9) + (inner - body) * m.uniform(-0.3, 0.3)
    if m.chance.random() < 0.5:
        for side in (-1, 1):
            lung = ellipse(
                x + side * wide * m.uniform(0.42, 0.55),
                y + m.uniform(-0.05, 0.05),
                wide * m.uniform(0.25, 0.4),
                high * m.uniform(0.5, 0.75),
                m.uniform(-0.3, 0.3),
            )
            air = m.uniform(0, 0.2) + m.uniform(0, 0.2) * m.texture()
            picture = picture * (1 - lung) + lung * air
    for _ in range(int(m.chance.integers(2, 9))):
        organ = ellipse(
            x + wide * m.uniform(-0.7, 0.7),
            y + high * m.uniform(-0.6, 0.6),
            wide * m.uniform(0.05, 0.4),
            high * m.uniform(0.05, 0.4),
            m.uniform(0, 3),
        )
        picture = picture * (1 - organ) + organ * body * m.uniform(0.1, 1)
    spine = ellipse(x, y + 0.6 * high, wide * m.uniform(0.1, 0.2), high * m.uniform(0.12, 0.25))
    return _scanned(m, np.maximum(picture, spine * m.uniform(0.7, 1)))


def head(m: Material) -> Picture:
    """A slice of a head: skull, brain, ventricles."""
    x, y, turn = m.uniform(0.42, 0.58), m.uniform(0.42, 0.58), m.uniform(-0.4, 0.4)
    wide, high = m.uniform(0.25, 0.45), m.uniform(0.3, 0.48)
    skull = ellipse(x, y, wide, high, turn, 0.02)
    inside = ellipse(x, y, 0.9 * wide, 0.92 * high, turn, 0.02)
    folds = m.uniform(0, 0.6) * (fractal(m.chance, m.uniform(0.8, 1.8)) - 0.5)
    brain = m.uniform(0.2, 0.6) + folds + m.uniform(0, 0.3) * np.sign(m.texture() - 0.5)
    picture = skull * m.uniform(0.1, 1) * (1 - inside) + inside * brain
    for side in (-1, 1):
        ventricle = ellipse(
            x + side * wide * m.uniform(0.1, 0.25),
            y + m.uniform(-0.1, 0.1),
            wide * m.uniform(0.05, 0.2),
            high * m.uniform(0.1, 0.35),
            side * m.uniform(0, 0.5),
        )
        picture = picture * (1 - ventricle) + ventricle * m.uniform(0, 1)
    return _scanned(m, picture)


def ultrasound(m: Material) -> Picture:
    """A fan of speckle with dark holes."""
    x = m.uniform(0.4, 0.6)
    angle = np.abs(np.arctan2(X - x, Y + m.uniform(0.05, 0.15)))
    radius = np.hypot(X - x, Y)
    fan = (
        (angle < m.uniform(0.4, 0.8)) & (radius > m.uniform(0, 0.2)) & (radius < m.uniform(0.8, 1))
    )
    speckle = fractal(m.chance) * m.uniform(0.2, 1) + 0.4 * m.chance.random(X.shape) * m.texture()
    picture = fan * spread(speckle) ** m.uniform(1, 3)
    for _ in range(int(m.chance.integers(0, 4))):
        hole = ellipse(*m.chance.uniform(0.2, 0.8, 2), *m.chance.uniform(0.03, 0.2, 2))
        picture = picture * (1 - 0.9 * hole)
    return _scanned(m, picture)


def limb(m: Material) -> Picture:
    """Long bones in soft tissue."""
    turn = m.uniform(-0.4, 0.4) + m.chance.choice([0, np.pi / 2], p=[0.7, 0.3])
    flesh = ellipse(0.5, 0.5, m.uniform(0.15, 0.4), m.uniform(0.6, 2), turn, 0.05)
    picture = flesh * m.uniform(0.15, 0.5)
    for _ in range(int(m.chance.integers(1, 6))):
        x, y = m.uniform(0.3, 0.7), m.uniform(0.2, 0.8)
        thick, long = m.uniform(0.03, 0.1), m.uniform(0.2, 1.2)
        bone = ellipse(x, y, thick, long, turn + m.uniform(-0.15, 0.15), 0.08)
        marrow = ellipse(x, y, 0.6 * thick, long, turn, 0.1)
        picture = picture + m.uniform(0.2, 0.6) * (bone - 0.5 * marrow)
    return _scanned(m, picture)


def _scanned(m: Material, picture: Picture) -> Picture:
    """With the grain of a device, its window, and now and then its negative."""
    grain = m.uniform(0, 0.15) * (fractal(m.chance) - 0.5) * (picture > 0.05)
    picture = picture + grain + m.chance.normal(0, m.uniform(0, 0.04), picture.shape)
    if m.chance.random() < 0.07:
        picture = 1 - picture
    return picture.clip(0, 1) ** m.uniform(0.5, 1.6)
