"""How a film lies and whether its greys are inverted, seen at a glance."""

import torch
from torch import Tensor, nn

from chest_xray.network.convolution import Convolution
from chest_xray.network.stages import SURE
from chest_xray_residual import standardize

ORIENTATIONS = ("upright", "mirrored", "rotated_90", "rotated_180", "rotated_270", "inverted")
"""In the order of the logits; they are the warnings of an answer, too. Rotations are of the film,
in degrees counterclockwise."""
SIDE = 56
"""The side of the thumbnail that it looks at, in pixels."""
_INVERTED = ORIENTATIONS.index("inverted")
_ROTATIONS = {quarters: ORIENTATIONS.index(f"rotated_{90 * quarters}") for quarters in (1, 2, 3)}
_UPRIGHT = 6.0  # the first logit of a network that was not trained: every film is upright


class Orientation(nn.Module):
    """Three small convolutions on a thumbnail of 56 x 56; 33 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Convolution(4, 16, 3)
        self.second = Convolution(16, 32, 3, 2)
        self.third = Convolution(32, 48, 3, 2)
        self.head = nn.Linear(48 * 7 * 7, len(ORIENTATIONS))
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.zero_()[0] = _UPRIGHT

    def forward(self, images: Tensor) -> Tensor:
        """Images float32 (N, 1, 224, 224) in [0, 1] -> logits float32 (N, orientations)."""
        side = images.shape[-1] // SIDE
        rows = images.reshape(-1, SIDE, side, images.shape[-1]).sum(2)
        small = rows.view(-1, 1, SIDE, SIDE, side).sum(4) / side**2
        maps = nn.functional.pixel_unshuffle(standardize(small), 2)  # 28 x 28
        maps = self.first(maps, rectify=True)
        maps = self.second(maps, rectify=True)
        maps = self.third(maps, rectify=True)
        logits: Tensor = self.head(maps.to(self.head.weight.dtype).flatten(1))
        return logits


def turned_upright(images: Tensor, orientations: Tensor) -> Tensor:
    """Undo the rotations and inversions of which there is no doubt; films that are mirrored stay as
    they are, since hearts on the right exist.

    Args:
        images: (N, 1, H, H) in [0, 1].
        orientations: (N, orientations), the logits.
    """
    sure = _sure(orientations)[:, :, None, None, None]
    for quarters, index in _ROTATIONS.items():
        turned = torch.rot90(images, -quarters, (2, 3))
        images = torch.where(sure[:, index], turned, images)
    return torch.where(sure[:, _INVERTED], 1 - images, images)


def turned_again(heats: Tensor, orientations: Tensor) -> Tensor:
    """Turn heat maps (N, h, h) of films that were turned upright back to where the films lay."""
    sure = _sure(orientations)[:, :, None, None]
    for quarters, index in _ROTATIONS.items():
        turned = torch.rot90(heats, quarters, (1, 2))
        heats = torch.where(sure[:, index], turned, heats)
    return heats


def _sure(orientations: Tensor) -> Tensor:
    """bool (N, orientations)."""
    return torch.softmax(orientations.float(), dim=1) > SURE
