"""Which part of a film an answer rests on: heat maps, and pictures of them."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chest_xray.network.stages import StagedNet

_OPACITY = 0.6  # of the hottest place


def heatmaps(network: StagedNet, images: Tensor) -> Tensor:
    """HiResCAM of the most probable label (Draelos & Carin 2020).

    Like Grad-CAM, but every place of the maps keeps its own gradient, so that only places which
    raised the label are hot; of its log-probability, so that they speak for it against the others.

    Args:
        network: whose answers are explained, without its calibration.
        images: float32 (N, 1, 224, 224) in [0, 1].

    Returns:
        float32 (N, h, w) of the explained maps' size, each at least 0. The places of one film sum
        to 1, or to 0 if none of them speaks for the label.
    """
    explained = range(len(network.widths))[network.explained]
    with torch.no_grad():
        maps = network.stages(images, end=explained + 1)[-1]
    with torch.enable_grad():
        maps = maps.detach().clone().requires_grad_()
        later = network.stages(maps, first=explained + 1)
        logits = network.scores(later[-1] if later else maps)
        # Rows do not touch each other, so the sum's gradient holds the gradient of each.
        [gradients] = torch.autograd.grad(logits.log_softmax(1).amax(1).sum(), maps)
    heat = (gradients * maps.detach()).sum(1).clamp_min(0)
    return heat / heat.sum((1, 2), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)


def overlay(film: Tensor, heatmap: Tensor) -> bytes:
    """The film with the heat map laid over it, red where it is hot, as a PNG file.

    Args:
        film: float32 (H, W) in [0, 1], of any size and aspect.
        heatmap: float32 (h, w), as :func:`heatmaps` gives it.
    """
    gray = film.numpy()
    heat = np.asarray(
        Image.fromarray(heatmap.numpy().astype(np.float32)).resize(
            (gray.shape[1], gray.shape[0]), Image.Resampling.BICUBIC
        )
    ).clip(0)
    heat = heat / max(float(heat.max()), np.finfo(np.float32).tiny)
    share = _OPACITY * heat[..., None]
    picture = (1 - share) * gray[..., None] + share * _colors(heat)
    buffer = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _colors(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heat in [0, 1] -> RGB in [0, 1]: blue, then yellow, then red."""
    red = (2 * heat).clip(0, 1)
    green = (1 - np.abs(2 * heat - 1)).clip(0, 1)
    return np.stack([red, green, (1 - 2 * heat).clip(0, 1)], axis=-1)
