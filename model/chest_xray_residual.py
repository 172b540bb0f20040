"""The small residual network of version 3.0, and several of it side by side."""

from torch import Tensor, nn

from chest_xray.labels import LABELS
from chest_xray.network import EnsembleNet, StagedNet

SIDE = 112
"""Of the image that it looks at, in pixels: the input, averaged two by two."""
MEMBERS = 3
_WIDTHS = (24, 48, 96, 192)
_DEPTHS = (1, 1, 2, 1)
_UNSHUFFLE = 4
_DARK = 0.02  # added to the standard deviation, so that a blank image is not blown up


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, with the pooled shortcut of He et al.
    2019)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(width_in, width, 3, stride)
        self.second = _convolution(width, width, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width_in != width:
            pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(pool, _convolution(width_in, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        beside = self.second(nn.functional.relu(self.first(x)))
        return nn.functional.relu(beside + self.shortcut(x))


class ResidualNet(StagedNet):
    """Five residual blocks on a standardised 112 x 112 image; 0.9 million parameters."""

    explained = 2  # 7 x 7 places; the last stage's 4 x 4 are too coarse to show

    def __init__(self) -> None:
        super().__init__(_WIDTHS)
        stem = [
            nn.PixelUnshuffle(_UNSHUFFLE),  # to 28 x 28, every pixel kept in a channel
            _convolution(_UNSHUFFLE**2, _WIDTHS[0], 3),
            nn.ReLU(),
        ]
        self.blocks = nn.ModuleList()
        width_in = _WIDTHS[0]
        for index, (width, depth) in enumerate(zip(_WIDTHS, _DEPTHS, strict=True)):
            layers: list[nn.Module] = stem if index == 0 else []
            for number in range(depth):
                layers.append(Residual(width_in, width, 2 if index and number == 0 else 1))
                width_in = width
            self.blocks.append(nn.Sequential(*layers))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(_WIDTHS[-1], len(LABELS))

    def stage(self, index: int, maps: Tensor) -> Tensor:
        if index == 0:
            if (
                maps.shape[-1] == 2 * SIDE
            ):  # the same as averaging two by two, in a fifth of the time
                maps = nn.functional.interpolate(maps, scale_factor=0.5, mode="bilinear")
            maps = standardize(maps)
        found: Tensor = self.blocks[index](maps)
        return found

    def scores(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(maps.float().mean((2, 3))))
        return logits


class SeedsNet(EnsembleNet):
    """Residual networks that differ in nothing but their seed; the mean of their logits counts
    (deep ensembles, Lakshminarayanan et al. 2017)."""

    def __init__(self) -> None:
        super().__init__([ResidualNet() for _ in range(MEMBERS)])

    def scores(self, maps: Tensor) -> Tensor:
        return self.member_scores(maps).mean(0)


def standardize(images: Tensor) -> Tensor:
    """Mean 0 and deviation 1 for each image by itself, float32 (N, 1, H, W): brightness and
    contrast are the scanner's, not the patient's."""
    mean = images.mean((2, 3), keepdim=True)
    variance = images.square().mean((2, 3), keepdim=True) - mean.square()
    return (images - mean) / (variance.clamp_min(0).sqrt() + _DARK)


def _convolution(width_in: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width)
    )
