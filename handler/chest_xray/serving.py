"""The form in which a network answers requests."""

import copy

import torch
from torch import Tensor, nn

from chest_xray.convolution import best_precision, packed
from chest_xray.transform import SIZE

_SIZES = (1, 2, 4, 6, 8)
"""Images that a CPU takes at a time. A number that it has not seen costs 20 ms and up to 5 MB, so
it knows these few, and others are filled up."""


class CpuForm(nn.Module):
    """Packed, and asked for a few numbers of images only."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        example = torch.zeros(_SIZES[-1], 1, SIZE, SIZE)
        self.network = packed(copy.deepcopy(network), precision, example)

    def forward(self, images: Tensor) -> Tensor:
        """As the network's own."""
        parts = torch.split(images, _SIZES[-1])
        return torch.cat([self.network(_filled(part))[: len(part)] for part in parts])


def serving_form(network: nn.Module, device: torch.device, bfloat16: bool = True) -> nn.Module:
    """What answers instead of ``network``, with readings that differ by rounding alone.

    Args:
        network: a :class:`ServedNet` on ``device``, for inference; left as it is.
        bfloat16: as the setting of this name.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    return CpuForm(network, best_precision() if bfloat16 else torch.float32)


@torch.inference_mode()
def warm_up(form: nn.Module, device: torch.device) -> None:
    """The first passes set up kernels and memory: before READY, not in the first callers' time."""
    for count in _SIZES:
        form(torch.zeros(count, 1, SIZE, SIZE, device=device))


def _filled(images: Tensor) -> Tensor:
    """With empty images up to the next number that the network knows."""
    missing = next(size for size in _SIZES if size >= len(images)) - len(images)
    return torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images
