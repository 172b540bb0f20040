"""Convolutions, and the form in which a CPU computes them fastest."""

import copy
from collections.abc import Callable, Sequence
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
    that oneDNN wants, and all of it one call. For inference on a CPU; TorchScript compiles it."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, convolution: nn.Conv2d, precision: torch.dtype, shape: Sequence[int]
    ) -> None:
        """``shape``: of the input to lay the weights out for; others are answered too."""
        super().__init__()
        self._stride, self._padding, self._dilation = (
            list(map(int, each))
            for each in (convolution.stride, convolution.padding, convolution.dilation)
        )
        self._groups = convolution.groups
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            convolution.weight.detach().to(precision),
            self._padding,
            self._stride,
            self._dilation,
            self._groups,
            list(shape),
        )
        bias = convolution.bias
        if bias is None:
            bias = torch.zeros(convolution.out_channels)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias.detach().to(precision), persistent=False)

    def forward(self, x: Tensor, plus: Tensor | None = None, rectify: bool = False) -> Tensor:
        """As of :class:`Convolution`, but in the chosen precision; ``plus`` is overwritten."""
        x = x.to(self.bias.dtype).contiguous(memory_format=torch.channels_last)
        # What torch's own compiler makes of convolutions on a CPU.
        if plus is None:
            return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
                x, self.weight, self.bias, self._padding, self._stride, self._dilation,
                self._groups, "relu" if rectify else "none", [], "",
            )  # fmt: skip
        return torch.ops.mkldnn._convolution_pointwise_(  # type: ignore[no-any-return]
            plus, x, self.weight, self.bias, self._padding, self._stride, self._dilation,
            self._groups, "add", 1.0, "relu" if rectify else None, [], None,
        )  # fmt: skip


class Folded(nn.Module):
    """The same, its normalisation folded into the weights, in the layout and the precision that a
    GPU computes fastest. For inference."""

    def __init__(self, convolution: nn.Conv2d, precision: torch.dtype) -> None:
        super().__init__()
        self._precision = precision
        self.convolution = copy.deepcopy(convolution).to(precision)
        self.convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, plus: Tensor | None = None, rectify: bool = False) -> Tensor:
        """As of :class:`Convolution`, but in the chosen precision."""
        x = self.convolution(x.to(self._precision, memory_format=torch.channels_last))
        if plus is not None:
            x = x + plus
        return torch.relu(x) if rectify else x


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
    return _replaced(network, lambda old, fused: Packed(fused, precision, shapes[old]))


def folded(network: nn.Module, precision: torch.dtype) -> nn.Module:
    """``network`` with every convolution in its folded form; changed in place."""
    return _replaced(network, lambda old, fused: Folded(fused, precision))


def _replaced(network: nn.Module, form: Callable[[nn.Conv2d, nn.Conv2d], nn.Module]) -> nn.Module:
    """With ``form`` of every convolution: as it is there, and with its normalisation in it."""
    for name, child in network.named_children():
        if isinstance(child, Convolution):
            convolution: Any = child[0]
            normalization: Any = child[1]
            fused = fuse_conv_bn_eval(convolution, normalization)
            setattr(network, name, form(convolution, fused))
        elif isinstance(child, nn.Conv2d):
            setattr(network, name, form(child, child))
        else:
            _replaced(child, form)
    return network


def best_precision() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    cpu = torch.cpu
    native = cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
