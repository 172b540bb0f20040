"""Images that are no frontal chest films, drawn by code: what the gate learns to refuse. And films
as other people store them, which it must not refuse.

Pictures are float (224, 224), about 0 to 1, until the end; every kind has a function of its own.
"""

import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from chest_xray.transform import SIZE

Pixels = NDArray[np.uint8]
Picture = NDArray[Any]
Chance = np.random.Generator

_Y, _X = np.mgrid[0 : 1 : SIZE * 1j, 0 : 1 : SIZE * 1j]
_CHARACTERS = list(string.ascii_letters + string.digits + "    ..,-/:")


def no_films(films: Sequence[Pixels], count: int, seed: int) -> Iterator[Pixels]:
    """``count`` images uint8 (224, 224), of every kind below; a quarter of them mangled films."""
    chance = np.random.default_rng(seed)
    textures = [fractal(chance) for _ in range(24)] + [waves(chance) for _ in range(6)]
    odds = np.array([share for _, share in _KINDS])
    for _ in range(count):
        kind = _KINDS[chance.choice(len(_KINDS), p=odds / odds.sum())][0]
        picture = kind(_Material(chance, films, textures))
        if chance.random() < 0.1:
            picture = _resized(_resized(picture, int(chance.integers(40, 150))), SIZE)
        yield _stored(picture)


def as_stored_elsewhere(chance: Chance, film: Pixels) -> Pixels:
    """A film turned a little, cropped, framed, shrunk, exposed or lettered in another way, or seen
    from behind: still a film."""
    image = Image.fromarray(film)
    if chance.random() < 0.5:
        image = image.rotate(chance.uniform(-8, 8), Image.Resampling.BILINEAR)
    left, top, right, bottom = (
        SIZE * chance.uniform(0, 0.14, 4) * (chance.random(4) < 0.5)
    ).astype(int)
    image = image.crop((left, top, SIZE - right, SIZE - bottom))
    if chance.random() < 0.3:
        side = int(chance.uniform(48, 200))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if chance.random() < 0.35:
        shade = 0 if chance.random() < 0.8 else int(chance.integers(256))
        widths = (image.width * chance.uniform(0, 0.15, 4) * (chance.random(4) < 0.6)).astype(int)
        left, top, right, bottom = (int(width) for width in widths)
        framed = Image.new("L", (image.width + left + right, image.height + top + bottom), shade)
        framed.paste(image, (left, top))
        image = framed
    picture = _resized(np.asarray(image) / 255, SIZE)
    if chance.random() < 0.7:
        picture = picture.clip(0, 1) ** np.exp(chance.uniform(-0.6, 0.6))
    if chance.random() < 0.7:
        contrast, brightness = np.exp(chance.uniform(-0.7, 0.45)), chance.uniform(-0.15, 0.15)
        picture = (picture - 0.5) * contrast + 0.5 + brightness
    if chance.random() < 0.2:
        picture = picture + chance.normal(0, chance.uniform(0, 0.05), picture.shape)
    image = Image.fromarray(_stored(picture))
    if chance.random() < 0.35:
        draw = ImageDraw.Draw(image)
        for _ in range(int(chance.integers(1, 4))):
            place = (chance.choice([4, 150, 190]), chance.choice([2, 20, 195]))
            font = ImageFont.load_default(float(chance.uniform(8, 18)))
            draw.text(place, _words(chance, 12), fill=int(chance.integers(170, 256)), font=font)
    found: Pixels = np.asarray(image)
    return np.ascontiguousarray(found[:, ::-1]) if chance.random() < 0.5 else found


class _Material:
    """What pictures are made of."""

    def __init__(
        self, chance: Chance, films: Sequence[Pixels], textures: Sequence[Picture]
    ) -> None:
        self.chance = chance
        self._films = films
        self._textures = textures

    def film(self) -> Picture:
        return self._films[int(self.chance.integers(len(self._films)))] / 255

    def texture(self) -> Picture:
        return self._textures[int(self.chance.integers(len(self._textures)))]

    def uniform(self, low: float, high: float) -> float:
        return float(self.chance.uniform(low, high))


# Nothing but brightness


def plain(m: _Material) -> Picture:
    """Blank, or a slope."""
    if m.chance.random() < 0.5:
        grain = m.chance.normal(0, m.chance.choice([0, 0.01, 0.03]), (SIZE, SIZE))
        return grain + m.uniform(0, 1)
    return _slope(m.chance) ** m.uniform(0.3, 3) * m.uniform(0.1, 1)


def noise(m: _Material) -> Picture:
    """Independent values, fine or coarse."""
    side = int(2 ** m.uniform(1.5, 7.8))
    values = (
        m.chance.random((side, side)),
        m.chance.normal(0.5, 0.2, (side, side)),
        m.chance.random((side, side)) < m.uniform(0.02, 0.5),
        m.chance.exponential(0.2, (side, side)),
    )[m.chance.integers(4)]
    smooth = Image.Resampling.NEAREST if m.chance.random() < 0.4 else Image.Resampling.BICUBIC
    return _resized(values.astype(float), SIZE, smooth).clip(0, 1) * m.uniform(0.1, 1)


def clouds(m: _Material) -> Picture:
    """Noise that is stronger the coarser it is."""
    return fractal(m.chance) ** m.uniform(0.5, 2) * m.uniform(0.3, 1)


def fractal(chance: Chance, power: float | None = None) -> Picture:
    power = chance.uniform(0.3, 2.2) if power is None else power
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    radius[0, 0] = 1
    spectrum: NDArray[Any] = np.fft.rfft2(chance.normal(size=(SIZE, SIZE))) / radius**power
    spectrum[0, 0] = 0
    return _spread(_inverse(spectrum))


def stripes(m: _Material) -> Picture:
    return waves(m.chance)


def waves(chance: Chance) -> Picture:
    """Stripes, rings, spirals, checkerboards."""
    turn, arms = chance.uniform(0, 2 * np.pi), chance.integers(0, 5)
    u, v = chance.random(2)
    along = _X * np.cos(turn) + _Y * np.sin(turn)
    across = _Y * np.cos(turn) - _X * np.sin(turn)
    radius, angle = np.hypot(_X - u, _Y - v), np.arctan2(_Y - v, _X - u)
    phase = (along, radius, along * radius)[chance.integers(3)]
    picture = np.sin(2 * np.pi * chance.uniform(1, 40) * phase + arms * angle)
    if chance.random() < 0.5:
        picture = picture * np.sin(2 * np.pi * chance.uniform(1, 20) * across)
    return _spread(np.sign(picture) if chance.random() < 0.4 else picture)


# Things


def dead_leaves(m: _Material) -> Picture:
    """Textured things of all sizes that cover each other: the statistics of photographs (Lee et
    al. 2001)."""
    chance = m.chance
    picture = fractal(chance) * chance.random() + _slope(chance) * chance.random()
    for _ in range(int(np.exp(m.uniform(0.7, 5)))):
        mask = Image.new("L", (SIZE, SIZE))
        _draw_thing(chance, ImageDraw.Draw(mask))
        if chance.random() < 0.2:
            mask = mask.filter(ImageFilter.GaussianBlur(m.uniform(0.5, 6)))
        share = np.asarray(mask) / 255
        shade = 1.4 * chance.random() + m.uniform(0, 0.8) * (m.texture() - 0.5)
        shade = shade + m.uniform(-0.5, 0.5) * (_X if chance.random() < 0.5 else _Y)
        picture = picture * (1 - share) + shade * share
    return (_spread(picture) * m.uniform(0.5, 1.2)).clip(0, 1) ** m.uniform(0.5, 2)


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


def page(m: _Material) -> Picture:
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
            draw.text((left, y), _words(chance, 90), fill=ink, font=font)
            y += step
    if chance.random() < 0.5:
        curve = side * (m.uniform(0.1, 0.6) + 0.3 * _spread(chance.normal(size=60).cumsum()))
        places = np.linspace(0.1 * side, 0.9 * side, len(curve))
        draw.line(list(zip(places, curve, strict=True)), fill=ink, width=int(chance.integers(1, 4)))
        low, high = 0.1 * side, 0.9 * side
        draw.line([(low, low), (low, high), (high, high)], fill=ink)
    return _resized(np.asarray(image) / 255, SIZE)


# Other medical images, as they look from afar


def trunk(m: _Material) -> Picture:
    """A slice of chest or belly: rim, organs, spine, maybe lungs."""
    x, y = m.uniform(0.45, 0.55), m.uniform(0.45, 0.55)
    wide, high = m.uniform(0.33, 0.5), m.uniform(0.22, 0.42)
    body = _ellipse(x, y, wide, high, soft=0.015)
    inner = _ellipse(x, y, 0.92 * wide, 0.9 * high, soft=0.02)
    picture = body * m.uniform(0.3, 0.9) + (inner - body) * m.uniform(-0.3, 0.3)
    if m.chance.random() < 0.5:
        for side in (-1, 1):
            lung = _ellipse(
                x + side * wide * m.uniform(0.42, 0.55),
                y + m.uniform(-0.05, 0.05),
                wide * m.uniform(0.25, 0.4),
                high * m.uniform(0.5, 0.75),
                m.uniform(-0.3, 0.3),
            )
            air = m.uniform(0, 0.2) + m.uniform(0, 0.2) * m.texture()
            picture = picture * (1 - lung) + lung * air
    for _ in range(int(m.chance.integers(2, 9))):
        organ = _ellipse(
            x + wide * m.uniform(-0.7, 0.7),
            y + high * m.uniform(-0.6, 0.6),
            wide * m.uniform(0.05, 0.4),
            high * m.uniform(0.05, 0.4),
            m.uniform(0, 3),
        )
        picture = picture * (1 - organ) + organ * body * m.uniform(0.1, 1)
    spine = _ellipse(x, y + 0.6 * high, wide * m.uniform(0.1, 0.2), high * m.uniform(0.12, 0.25))
    return _scanned(m, np.maximum(picture, spine * m.uniform(0.7, 1)))


def head(m: _Material) -> Picture:
    """A slice of a head: skull, brain, ventricles."""
    x, y, turn = m.uniform(0.42, 0.58), m.uniform(0.42, 0.58), m.uniform(-0.4, 0.4)
    wide, high = m.uniform(0.25, 0.45), m.uniform(0.3, 0.48)
    skull = _ellipse(x, y, wide, high, turn, 0.02)
    inside = _ellipse(x, y, 0.9 * wide, 0.92 * high, turn, 0.02)
    folds = m.uniform(0, 0.6) * (fractal(m.chance, m.uniform(0.8, 1.8)) - 0.5)
    brain = m.uniform(0.2, 0.6) + folds + m.uniform(0, 0.3) * np.sign(m.texture() - 0.5)
    picture = skull * m.uniform(0.1, 1) * (1 - inside) + inside * brain
    for side in (-1, 1):
        ventricle = _ellipse(
            x + side * wide * m.uniform(0.1, 0.25),
            y + m.uniform(-0.1, 0.1),
            wide * m.uniform(0.05, 0.2),
            high * m.uniform(0.1, 0.35),
            side * m.uniform(0, 0.5),
        )
        picture = picture * (1 - ventricle) + ventricle * m.uniform(0, 1)
    return _scanned(m, picture)


def ultrasound(m: _Material) -> Picture:
    """A fan of speckle with dark holes."""
    x = m.uniform(0.4, 0.6)
    angle = np.abs(np.arctan2(_X - x, _Y + m.uniform(0.05, 0.15)))
    radius = np.hypot(_X - x, _Y)
    fan = (
        (angle < m.uniform(0.4, 0.8)) & (radius > m.uniform(0, 0.2)) & (radius < m.uniform(0.8, 1))
    )
    speckle = fractal(m.chance) * m.uniform(0.2, 1) + 0.4 * m.chance.random(_X.shape) * m.texture()
    picture = fan * _spread(speckle) ** m.uniform(1, 3)
    for _ in range(int(m.chance.integers(0, 4))):
        hole = _ellipse(*m.chance.uniform(0.2, 0.8, 2), *m.chance.uniform(0.03, 0.2, 2))
        picture = picture * (1 - 0.9 * hole)
    return _scanned(m, picture)


def limb(m: _Material) -> Picture:
    """Long bones in soft tissue."""
    turn = m.uniform(-0.4, 0.4) + m.chance.choice([0, np.pi / 2], p=[0.7, 0.3])
    flesh = _ellipse(0.5, 0.5, m.uniform(0.15, 0.4), m.uniform(0.6, 2), turn, 0.05)
    picture = flesh * m.uniform(0.15, 0.5)
    for _ in range(int(m.chance.integers(1, 6))):
        x, y = m.uniform(0.3, 0.7), m.uniform(0.2, 0.8)
        thick, long = m.uniform(0.03, 0.1), m.uniform(0.2, 1.2)
        bone = _ellipse(x, y, thick, long, turn + m.uniform(-0.15, 0.15), 0.08)
        marrow = _ellipse(x, y, 0.6 * thick, long, turn, 0.1)
        picture = picture + m.uniform(0.2, 0.6) * (bone - 0.5 * marrow)
    return _scanned(m, picture)


def _ellipse(
    x: float, y: float, a: float, b: float, turn: float = 0.0, soft: float = 0.03
) -> Picture:
    """1 within, 0 without, and something between at the edge."""
    along = (_X - x) * np.cos(turn) + (_Y - y) * np.sin(turn)
    across = (_Y - y) * np.cos(turn) - (_X - x) * np.sin(turn)
    beyond = (np.hypot(along / a, across / b) - 1) / soft
    inside: Picture = 1 / (1 + np.exp(beyond.clip(-50, 50)))
    return inside


def _scanned(m: _Material, picture: Picture) -> Picture:
    """With the grain of a device, its window, and now and then its negative."""
    grain = m.uniform(0, 0.15) * (fractal(m.chance) - 0.5) * (picture > 0.05)
    picture = picture + grain + m.chance.normal(0, m.uniform(0, 0.04), picture.shape)
    if m.chance.random() < 0.07:
        picture = 1 - picture
    return picture.clip(0, 1) ** m.uniform(0.5, 1.6)


# Films that are none any more


def mangled(m: _Material) -> Picture:
    way = _WAYS[m.chance.integers(len(_WAYS))]
    return way(m, m.film())


def _sideways(m: _Material, film: Picture) -> Picture:
    return np.rot90(film, m.chance.choice([1, 3]))


def _upside_down(m: _Material, film: Picture) -> Picture:
    return film[::-1]


def _negative(m: _Material, film: Picture) -> Picture:
    return 1 - film


def _small_part(m: _Material, film: Picture) -> Picture:
    side = int(SIZE * m.uniform(0.12, 0.33))
    top, left = m.chance.integers(0, SIZE - side, 2)
    return _resized(film[top : top + side, left : left + side], SIZE)


def _one_lung(m: _Material, film: Picture) -> Picture:
    """As wide as a film: the nearest that frontal films come to lateral ones."""
    width = int(SIZE * m.uniform(0.3, 0.52))
    return _resized(film[:, :width] if m.chance.random() < 0.5 else film[:, -width:], SIZE)


def _upper_or_lower_part(m: _Material, film: Picture) -> Picture:
    height = int(SIZE * m.uniform(0.3, 0.48))
    return _resized(film[:height] if m.chance.random() < 0.5 else film[-height:], SIZE)


def _halves_exchanged(m: _Material, film: Picture) -> Picture:
    return np.roll(film, SIZE // 2, axis=1)


def _shuffled(m: _Material, film: Picture) -> Picture:
    count = int(m.chance.choice([2, 3, 4, 7, 8, 14]))
    side = SIZE // count
    tiles = [
        film[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(count)
        for column in range(count)
    ]
    order = m.chance.permutation(len(tiles))
    return _resized(_grid([tiles[each] for each in order], count), SIZE)


def _contact_sheet(m: _Material, film: Picture) -> Picture:
    count = int(m.chance.integers(2, 4))
    films = [_resized(m.film(), SIZE // count) for _ in range(count**2)]
    return _resized(_grid(films, count), SIZE)


def _thumbnail_in_something(m: _Material, film: Picture) -> Picture:
    picture: Picture = (page, dead_leaves, plain, noise)[m.chance.integers(4)](m).copy()
    side = int(SIZE * m.uniform(0.2, 0.55))
    top, left = m.chance.integers(0, SIZE - side, 2)
    picture[top : top + side, left : left + side] = _resized(film, side)
    return picture


def _half_gone(m: _Material, film: Picture) -> Picture:
    turns = int(m.chance.integers(4))
    picture = np.rot90(film, turns).copy()
    picture[: int(SIZE * m.uniform(0.45, 0.75))] = m.chance.choice([0, 1, m.chance.random()])
    return np.rot90(picture, -turns)


def _too_coarse(m: _Material, film: Picture) -> Picture:
    small = _resized(film, int(m.chance.integers(2, 9)))
    return _resized(small, SIZE, Image.Resampling.BICUBIC)


def _without_phase(m: _Material, film: Picture) -> Picture:
    phase = np.angle(np.fft.rfft2(m.chance.random(film.shape)))
    return _inverse(np.abs(np.fft.rfft2(film)) * np.exp(1j * phase))


def _edges(m: _Material, film: Picture) -> Picture:
    steps = np.abs(np.diff(film, axis=0, append=0)) + np.abs(np.diff(film, axis=1, append=0))
    picture = (steps * m.uniform(3, 9)).clip(0, 1)
    return picture if m.chance.random() < 0.6 else 1 - picture


def _drowned_in_noise(m: _Material, film: Picture) -> Picture:
    return m.chance.random(film.shape) * m.uniform(0.8, 1) + film * m.uniform(0, 0.15)


def _mirrored_in_itself(m: _Material, film: Picture) -> Picture:
    """One half and its mirror image, outside in or inside out."""
    fold = np.abs(2 * np.arange(SIZE) - (SIZE - 1))
    columns = fold if m.chance.random() < 0.5 else SIZE - 1 - fold
    return film[:, columns] if m.chance.random() < 0.5 else film[columns]


_WAYS: tuple[Callable[[_Material, Picture], Picture], ...] = (
    _sideways, _sideways, _upside_down, _negative, _small_part, _one_lung, _upper_or_lower_part,
    _halves_exchanged, _shuffled, _contact_sheet, _thumbnail_in_something, _half_gone, _too_coarse,
    _without_phase, _edges, _drowned_in_noise, _mirrored_in_itself,
)  # fmt: skip
_KINDS: tuple[tuple[Callable[[_Material], Picture], float], ...] = (
    (plain, 6), (noise, 5), (clouds, 3), (stripes, 6), (dead_leaves, 23), (page, 14), (trunk, 7),
    (head, 4), (ultrasound, 4), (limb, 4), (mangled, 25),
)  # fmt: skip
"""Every kind, and how often it is drawn."""


def _slope(chance: Chance) -> Picture:
    turn = chance.uniform(0, 2 * np.pi)
    return _spread(_X * np.cos(turn) + _Y * np.sin(turn))


def _words(chance: Chance, most: int) -> str:
    return "".join(chance.choice(_CHARACTERS, int(chance.integers(1, most))))


def _grid(tiles: Sequence[Picture], columns: int) -> Picture:
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _resized(
    picture: Picture, side: int, smooth: Image.Resampling = Image.Resampling.BILINEAR
) -> Picture:
    return np.asarray(Image.fromarray(picture.astype(np.float32)).resize((side, side), smooth))


def _spread(values: Picture) -> Picture:
    """To 0 to 1."""
    shifted = values - values.min()
    spread: Picture = shifted / max(float(shifted.max()), 1e-6)
    return spread


def _stored(picture: Picture) -> Pixels:
    stored: Pixels = (picture * 255).round().clip(0, 255).astype(np.uint8)
    return stored


def _inverse(spectrum: NDArray[Any]) -> Picture:
    picture: Picture = np.fft.irfft2(spectrum, (SIZE, SIZE))
    return picture
