"""The small residual network of version 3.0, and several of it side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chest_xray.network.convolution import Convolution
from chest_xray.network.stages import StagedNet

SIDE = 112
"""The side of the image that it looks at, in pixels: the input, averaged two by two."""
MEMBERS = 3
_WIDTHS = (24, 48, 96, 192)
_DEPTHS = (1, 1, 2, 1)
_UNSHUFFLE = 4
_DARK = 0.02  # added to the standard deviation, so that a blank image is not blown up


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016), which pools (He et al. 2019)."""

    def __init__(self, width_in: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        self.first = Convolution(width_in, width, 3, stride, groups)
        self.second = Convolution(width, width, 3, 1, groups)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width_in != width:
            pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(pool, Convolution(width_in, width, 1, 1, groups))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x, rectify=True)
        rectified: Tensor = self.second(maps, plus=self.shortcut(x), rectify=True)
        return rectified


class ResidualNet(StagedNet):
    """Five residual blocks on a standardised 112 x 112 image; 0.9 million parameters per member.

    Several members are the groups of the same convolutions, which takes fewer calls than one
    convolution per member.
    """

    explained = 2  # 7 x 7 places; the last stage's 4 x 4 are too coarse to show

    def __init__(self, outputs: int, members: int = 1) -> None:
        super().__init__(_WIDTHS)
        self.members = members
        self.blocks = nn.ModuleList()
        width_in = _UNSHUFFLE**2
        for index, depth in enumerate(_DEPTHS):
            width = _WIDTHS[index] * members
            layers: list[nn.Module] = []
            if index == 0:  # to 28 x 28, every pixel kept in a channel
                layers = [nn.PixelUnshuffle(_UNSHUFFLE), Convolution(width_in, width, 3), nn.ReLU()]
                width_in = width
            for number in range(depth):
                layers.append(Residual(width_in, width, 2 if index and number == 0 else 1, members))
                width_in = width
            self.blocks.append(nn.Sequential(*layers))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width_in, outputs)

    def stage(self, index: int, maps: Tensor) -> Tensor:
        if index == 0:
            if maps.shape[-1] == 2 * SIDE:
                # The same as averaging two by two, in a fifth of the time.
                maps = nn.functional.interpolate(maps, scale_factor=0.5, mode="bilinear")
            maps = standardize(maps)
        result: Tensor = self.blocks[index](maps)
        return result

    def scores(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(maps.to(self.head.weight.dtype).mean((2, 3))))
        return logits


def side_by_side(networks: Sequence[ResidualNet]) -> ResidualNet:
    """One network whose logits are the mean of those of these networks, which have one member each
    (deep ensembles, Lakshminarayanan et al. 2017)."""
    together = ResidualNet(networks[0].head.out_features, len(networks))
    states = [network.state_dict() for network in networks]
    state = {}
    for name, value in together.state_dict().items():
        parts = [kept[name] for kept in states]
        if name == "head.weight":
            state[name] = torch.cat(parts, dim=1) / len(parts)
        elif name == "head.bias":
            state[name] = torch.stack(parts).mean(0)
        else:
            state[name] = torch.cat(parts) if value.ndim else parts[0]
    together.load_state_dict(state)
    return together


def standardize(images: Tensor) -> Tensor:
    """Give each image float32 (N, 1, H, W) the mean 0 and the deviation 1, since brightness and
    contrast are the scanner's and not the patient's."""
    mean = images.mean((2, 3), keepdim=True)  # by hand: several times as fast as var_mean
    variance = images.square().mean((2, 3), keepdim=True) - mean.square()
    return (images - mean) / (variance.clamp_min(0).sqrt() + _DARK)
