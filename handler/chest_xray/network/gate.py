"""Whether an image is a frontal chest film at all, judged from what the network sees in it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

HIDDEN = 48
_THUMBNAIL = 14
_MOST = 5.0  # deviations; so that no single number of a strange image outvotes all others
_ALWAYS = 4.0  # the logit of a gate that was not fitted: everything passes


class Gate(nn.Module):
    """A head of one hidden layer on the moments of the network's maps and a thumbnail."""

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        """``widths``: channels of the maps that it looks at; of wider maps, the first ones."""
        super().__init__()
        self.widths = tuple(widths)
        size = 2 * sum(widths) + _THUMBNAIL**2
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.hidden = nn.Linear(size, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, _ALWAYS)

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Logits float32 (N,) of being a frontal chest film; 0 is the threshold.

        Args:
            images: float32 (N, 1, 224, 224).
            maps: per stage, float32 (N, C, h, w).
        """
        return self.judge(self.normalize(self.describe(images, maps)))

    def describe(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Mean and deviation of every channel over its places, and the image at 14 x 14 with mean 0
        and deviation 1: float32 (N, D)."""
        found = [
            stage[:, :width].to(self.mean.dtype).flatten(2)
            for stage, width in zip(maps, self.widths, strict=True)
        ]
        films = images.to(self.mean.dtype).flatten(2)
        # All moments at once: the calls cost more than what they compute.
        means = torch.cat([each.mean(2) for each in (*found, films)], dim=1)
        squares = torch.cat([_mean_square(each) for each in (*found, films)], dim=1)
        deviations = (squares - means.square()).clamp_min(0).sqrt()
        thumbnail = _averaged(images.to(self.mean.dtype)).flatten(1)
        thumbnail = (thumbnail - means[:, -1:]) / (deviations[:, -1:] + 0.02)
        parts = []
        widths = list(self.widths)
        for mean, deviation in zip(
            torch.split(means[:, :-1], widths, dim=1),
            torch.split(deviations[:, :-1], widths, dim=1),
            strict=True,
        ):
            parts += [mean, deviation]
        return torch.cat([*parts, thumbnail], dim=1)

    def normalize(self, described: Tensor) -> Tensor:
        """In deviations from what films have."""
        return ((described - self.mean) / self.scale).clamp(-_MOST, _MOST)

    def judge(self, normalized: Tensor) -> Tensor:
        """float32 (N, D) -> (N,)."""
        logits: Tensor = self.head(torch.relu(self.hidden(normalized)))
        return logits[:, 0]


def _averaged(images: Tensor) -> Tensor:
    """float32 (N, 1, 224, 224) -> (N, 14, 14): of 16 x 16 pixels each, rows first, in half the time
    of a pooling."""
    side = images.shape[-1] // _THUMBNAIL
    rows = images.reshape(-1, _THUMBNAIL, side, images.shape[-1]).sum(2)
    return rows.view(-1, _THUMBNAIL, _THUMBNAIL, side).sum(3) / side**2


def _mean_square(values: Tensor) -> Tensor:
    """float32 (N, C, L) -> (N, C). As a norm if rows are long, which needs no room for squares."""
    if values.shape[1] > 1:
        return values.square().mean(2)
    norms: Tensor = torch.linalg.vector_norm(values, dim=2)
    return norms.square() / values.shape[2]
