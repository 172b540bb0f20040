"""grayscale -> tensor: the one preprocessing function of training, evaluation and serving."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SIZE = 224
"""Side of the network's square input, in pixels, as in the original project."""
_LONGEST = 4
"""Times the shorter side, of a film that is shown."""
_GAP = 2.0
"""Least scale that is left to the antialiased resize after averaging; Pillow calls the difference
to no averaging at this gap all but invisible."""


def resize(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Antialiased bilinear resize of uint8 (H, W) to uint8 (224, 224), aspect not kept.

    The same as torchvision's ``Resize((224, 224))`` on a Pillow image, but that whole pixels of
    images with a side of 896 and above are averaged first, which takes half the time. Resizing its
    own result changes nothing, so a data set may keep resized films.
    """
    if gray.shape == (SIZE, SIZE):
        return gray
    image = Image.fromarray(gray)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=_GAP))


def at_own_aspect(gray: NDArray[np.uint8]) -> Tensor:
    """A film as it is shown under a heat map.

    Args:
        gray: uint8, shape (H, W), any size.

    Returns:
        float32, shape (h, w), values in [0, 1]: the aspect of the film, the shorter side 224 pixels
        and the longer one at most four times as long.
    """
    height, width = gray.shape
    scale = SIZE / min(height, width)
    size = [min(round(scale * side), _LONGEST * SIZE) for side in (width, height)]
    image = Image.fromarray(gray).resize(
        (size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=_GAP
    )
    return torch.from_numpy(np.asarray(image).astype(np.float32)).div_(255)


def to_tensor(gray: NDArray[np.uint8]) -> Tensor:
    """Resize and scale one film.

    Args:
        gray: uint8, shape (H, W), any size.

    Returns:
        float32, shape (1, 224, 224), values in [0, 1].
    """
    return torch.from_numpy(resize(gray).astype(np.float32)).div_(255)[None]
