"""Films -> films as other hospitals would have made, framed, exposed and stored them.

What changes here at random must not decide an answer. All functions take and give float32
(N, 1, H, W) in [0, 1], and draw from torch's global generator.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_ROTATION = 12.0  # degrees either way
_ZOOM = (-0.22, 0.08)  # logarithm of the part of the film that is seen
_ASPECT = 0.10  # logarithm, either way
_SHEAR = 0.08
_SHIFT = 0.09  # of half the side
_GAMMA = 0.5  # logarithm, either way; so are the next two
_CONTRAST = 0.35
_BRIGHTNESS = 0.15
_COARSE = (0.25, 0.35, 0.9)  # share of the films that lose resolution, and to what part of it
_SHARPEN = (-1.0, 2.0)  # times what a small blur takes away
_NOISE = 0.06
_RAMP = 0.15  # brightness from edge to edge
_FRAMED = 0.3  # share of the films with borders; so are the next two
_LETTERED = 0.3
_COVERED = 0.3


def augment(films: Tensor, side: int) -> Tensor:
    """Make every kind of change; the result is (N, 1, side, side)."""
    return occlude(expose(place(films, side)))


def place(films: Tensor, side: int) -> Tensor:
    """Rotate, zoom, stretch, shear, shift and mirror."""
    count = len(films)
    angle = _uniform(count, -_ROTATION, _ROTATION) * math.pi / 180
    zoom = _uniform(count, *_ZOOM).exp()
    aspect = _uniform(count, -_ASPECT, _ASPECT).exp()
    shear = _uniform(count, -_SHEAR, _SHEAR)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        [cosine * zoom * aspect * mirror, (shear - sine) * zoom * aspect, _shifts(count)],
        [sine * zoom / aspect * mirror, cosine * zoom / aspect, _shifts(count)],
    ]
    affine = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = functional.affine_grid(affine, [count, 1, side, side], align_corners=False)
    padding = "zeros" if torch.rand(1) < 0.7 else "border"
    return functional.grid_sample(films, grid, padding_mode=padding, align_corners=False)


def expose(films: Tensor) -> Tensor:
    """Change gamma, contrast and brightness of all films, and resolution, sharpness, noise and
    evenness of exposure of some."""
    count, side = len(films), films.shape[-1]
    films = films.clamp(1e-4, 1) ** _per_film(count, -_GAMMA, _GAMMA).exp()
    films = (films - 0.5) * _per_film(count, -_CONTRAST, _CONTRAST).exp() + 0.5
    films = films + _per_film(count, -_BRIGHTNESS, _BRIGHTNESS)
    share, *coarseness = _COARSE
    for chosen in torch.randperm(count)[: int(share * count)].chunk(2):
        if len(chosen):
            less = int(side * float(_uniform(1, *coarseness)))
            small = functional.interpolate(
                films[chosen], size=(less, less), mode="bilinear", antialias=True
            )
            films[chosen] = functional.interpolate(small, size=(side, side), mode="bilinear")
    sharp, noisy, uneven, _ = torch.randperm(count).tensor_split(4)
    line = torch.tensor([0.25, 0.5, 0.25])
    padded = functional.pad(films[sharp], (1, 1, 1, 1), mode="replicate")
    blurred = functional.conv2d(padded, (line[:, None] * line)[None, None])
    films[sharp] += (films[sharp] - blurred) * _per_film(len(sharp), *_SHARPEN)
    films[noisy] += torch.randn_like(films[noisy]) * _per_film(len(noisy), 0, _NOISE)
    slope = torch.linspace(-1, 1, side)
    across, down = (_per_film(len(uneven), -_RAMP, _RAMP) for _ in range(2))
    films[uneven] += across * slope + down * slope[:, None]
    return films.clamp(0, 1)


def occlude(films: Tensor) -> Tensor:
    """Draw borders, letters near the corners, and rectangles anywhere, in place."""
    side = films.shape[-1]
    for film in films:
        if torch.rand(1) < _FRAMED:
            _frame(film[0], side)
        if torch.rand(1) < _LETTERED:
            _letter(film[0], side)
        if torch.rand(1) < _COVERED:
            _cover(film[0], side)
    return films


def _frame(film: Tensor, side: int) -> None:
    """Draw the borders of collimation or scanning, mostly black, up to a tenth of the side."""
    shade = 0.0 if torch.rand(1) < 0.75 else float(torch.rand(1))
    top, bottom, left, right = (_length(0, 0.1 * side) * _chance(0.6) for _ in range(4))
    film[:top] = shade
    film[side - bottom :] = shade
    film[:, :left] = shade
    film[:, side - right :] = shade


def _letter(film: Tensor, side: int) -> None:
    """Draw one to three light patterns of the size of markers and letters, where those are."""
    for _ in range(int(torch.randint(1, 4, (1,)))):
        height, width = _length(0.02 * side, 0.08 * side), _length(0.03 * side, 0.15 * side)
        top = _length(0, 0.18 * side) if _chance(0.7) else _length(0.8 * side, 0.92 * side)
        left = _length(0, 0.2 * side) if _chance(0.5) else _length(0.7 * side, 0.85 * side)
        strokes = torch.rand(1, 1, max(1, height // 2), max(1, width // 2)) < 0.6
        pattern = functional.interpolate(strokes.float(), size=(max(1, height), max(1, width)))
        place = film[top : top + height, left : left + width]
        mask = pattern[0, 0, : place.shape[0], : place.shape[1]]
        place.lerp_(_uniform(1, 0.7, 1).expand_as(place), mask)


def _cover(film: Tensor, side: int) -> None:
    """Draw one rectangle of one shade (random erasing, Zhong et al. 2020)."""
    height, width = _length(0.1 * side, 0.35 * side), _length(0.1 * side, 0.35 * side)
    top, left = _length(0, side - height), _length(0, side - width)
    film[top : top + height, left : left + width] = float(torch.rand(1))


def mix(films: Tensor, targets: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mix the batch with itself in another order, by mixup (Zhang et al. 2018) or by CutMix (Yun et
    al. 2019).

    Args:
        targets: float32 (N, labels), the shares of every label.
        mixup: the strength of the beta distribution of the share that is blended.
        cutmix: how often a square is pasted instead, 0 to 1.
    """
    order = torch.randperm(len(films))
    if _chance(cutmix):
        size = films.shape[-1]
        side = int(size * math.sqrt(torch.rand(())))
        top, left = (int(torch.randint(0, size - side + 1, ())) for _ in range(2))
        place = (..., slice(top, top + side), slice(left, left + side))
        mixed = films.clone()
        mixed[place] = films[order][place]
        share = (side / size) ** 2
    else:
        share = float(torch.distributions.Beta(mixup, mixup).sample())
        share = min(share, 1 - share)
        mixed = films.lerp(films[order], share)
    return mixed, targets.lerp(targets[order], share)


def _uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(low, high)


def _per_film(count: int, low: float, high: float) -> Tensor:
    """One number per film, in the shape that spreads it over the pixels."""
    return _uniform(count, low, high)[:, None, None, None]


def _shifts(count: int) -> Tensor:
    return _uniform(count, -_SHIFT, _SHIFT)


def _length(low: float, high: float) -> int:
    """A random number of pixels."""
    return int(_uniform(1, low, high))


def _chance(share: float) -> bool:
    return bool(torch.rand(1) < share)
