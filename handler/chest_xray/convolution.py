"""Convolutions, and the form in which a CPU computes them fastest."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Convolution(nn.Sequential):
    """A convolution with its normalisation; on request a sum and a rectifier after it."""

    def __init__(
        self, width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        convolution = nn.Conv2d(
            width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        super().__init__(convolution, nn.BatchNorm2d(width))

    def forward(self, x: Tensor, plus: Tensor | None = None, rectify: bool = False) -> Tensor:
        """float32 (N, width_in, h, w) -> (N, width, h', w')."""
        x = self[1](self[0](x))
        if plus is not None:
            x = x + plus
        return torch.relu(x) if rectify else x


class Packed(nn.Module):
    """The same, its normalisation folded into the weights, these in the layout and the precision
    that oneDNN wants, and all of it one call. For inference on a CPU."""

    def __init__(
        self, convolution: nn.Conv2d, precision: torch.dtype, shape: Sequence[int]
    ) -> None:
        """``shape``: of the input to lay the weights out for; others are answered too."""
        super().__init__()
        stride, padding, dilation = (
            list(map(int, each))
            for each in (convolution.stride, convolution.padding, convolution.dilation)
        )
        groups = convolution.groups
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            convolution.weight.detach().to(precision),
            padding,
            stride,
            dilation,
            groups,
            list(shape),
        )
        bias = convolution.bias
        self._bias = None if bias is None else bias.detach().to(precision)
        self._precision = precision
        # What torch's own compiler makes of convolutions on a CPU; looked up here, since a build
        # without oneDNN has none.
        self._call = torch.ops.mkldnn._convolution_pointwise.default
        self._add = torch.ops.mkldnn._convolution_pointwise_.binary
        self._how = (padding, stride, dilation, groups)

    def forward(self, x: Tensor, plus: Tensor | None = None, rectify: bool = False) -> Tensor:
        """As of :class:`Convolution`, but in the chosen precision; ``plus`` is overwritten."""
        x = x.to(self._precision, memory_format=torch.channels_last)
        arguments = (self._weight, self._bias, *self._how)
        after = "relu" if rectify else None
        found: Tensor
        if plus is None:
            found = self._call(x, *arguments, after or "none", [], "")
        else:
            found = self._add(plus, x, *arguments, "add", 1.0, after, [], None)
        return found


def packed(network: nn.Module, precision: torch.dtype, example: Tensor) -> nn.Module:
    """``network`` with every convolution in its packed form; changed in place.

    Args:
        example: what it will be asked, the layouts are chosen for.
    """
    shapes: dict[nn.Module, Sequence[int]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        shapes[module] = inputs[0].shape

    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    hooks = [each.register_forward_hook(note) for each in convolutions]
    with torch.inference_mode():
        network(example)
    for hook in hooks:
        hook.remove()
    _pack(network, precision, shapes)
    return network


def _pack(
    network: nn.Module, precision: torch.dtype, shapes: Mapping[nn.Module, Sequence[int]]
) -> None:
    for name, child in network.named_children():
        if isinstance(child, Convolution):
            convolution: Any = child[0]
            normalization: Any = child[1]
            fused = fuse_conv_bn_eval(convolution, normalization)
            setattr(network, name, Packed(fused, precision, shapes[convolution]))
        elif isinstance(child, nn.Conv2d):
            setattr(network, name, Packed(child, precision, shapes[child]))
        else:
            _pack(child, precision, shapes)


def best_precision() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    cpu = torch.cpu
    native = cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
