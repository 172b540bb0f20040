"""Films -> a network that recognises how they are turned, mirrored or inverted."""

import torch
from torch import Tensor, nn

from chest_xray_orientation import ORIENTATIONS, SIDE, Orientation
from chest_xray_training.augmentation import expose, occlude

_STEPS = 1500
_BATCH = 64
_TURN = 10.0  # degrees either way that count as upright
_LEAST = 0.75  # the part of the film's side that is seen at least
_MOST = 1.08  # and at most, with a border


def turned(images: Tensor, orientations: Tensor) -> Tensor:
    """Upright images float32 (N, 1, H, H) as films of these orientations int64 (N,) look."""
    found = []
    for image, orientation in zip(images, orientations.tolist(), strict=True):
        name = ORIENTATIONS[orientation]
        if name == "mirrored":
            image = image.flip(2)
        elif name == "inverted":
            image = 1 - image
        elif name != "upright":
            image = image.rot90(orientation - 1, (1, 2))
        found.append(image)
    return torch.stack(found)


def fit_orientation(pixels: Tensor, seed: int = 0) -> Orientation:
    """A network that recognises how films are turned, mirrored or inverted.

    Args:
        pixels: uint8 (N, 1, 224, 224), films as they are, upright.
    """
    torch.manual_seed(seed)
    network = Orientation()
    nn.init.normal_(network.head.weight, std=0.02)
    nn.init.zeros_(network.head.bias)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=_STEPS)
    # At the size that it looks at; the changes are then quick, and as great in proportion.
    small = nn.functional.adaptive_avg_pool2d(pixels.float(), SIDE).round().to(torch.uint8)
    for _ in range(_STEPS):
        chosen = torch.randint(len(small), (_BATCH,))
        aims = torch.randint(len(ORIENTATIONS), (_BATCH,))
        images = occlude(expose(_placed(small[chosen].float() / 255)))
        loss = nn.functional.cross_entropy(
            network(turned(images, aims)), aims, label_smoothing=0.01
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def _placed(images: Tensor) -> Tensor:
    """Turned a little, zoomed and shifted, but not mirrored."""
    count = len(images)
    angle = (torch.rand(count) * 2 - 1) * _TURN * torch.pi / 180
    zoom = _MOST - torch.rand(2, count) * (_MOST - _LEAST)
    shift = (torch.rand(2, count) * 2 - 1) * 0.12
    rows = [
        [angle.cos() * zoom[0], -angle.sin() * zoom[0], shift[0]],
        [angle.sin() * zoom[1], angle.cos() * zoom[1], shift[1]],
    ]
    affine = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)
