"""The form in which a network answers requests. Images and readings lie in the CPU's memory,
whatever computes."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from chest_xray.network.convolution import Packed, best_precision, folded, packed
from chest_xray.transform import SIZE

_PASSES = 3
"""In which TorchScript sees what it is given, and improves on it."""


class CpuForm(nn.Module):
    """Packed, without Python between the calls, and asked for a few numbers of images only."""

    sizes = (1, 2, 4, 6, 8)
    """Images that it takes at a time. A number that it has not seen costs 20 ms and up to 5 MB, so
    it knows these few, and others are filled up."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        example = torch.zeros(self.sizes[-1], 1, SIZE, SIZE)
        self.network = _compiled(packed(copy.deepcopy(network), precision, example), example)

    def forward(self, images: Tensor) -> Tensor:
        """As the network's own."""
        parts = torch.split(images, self.sizes[-1])
        return torch.cat([self._part(part) for part in parts])

    def _part(self, images: Tensor) -> Tensor:
        if missing := _next(self.sizes, len(images)) - len(images):
            filled = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
            return self.network(filled)[: len(images)]  # type: ignore[no-any-return]
        return self.network(images)  # type: ignore[no-any-return]


class GpuForm(nn.Module):
    """Folded, and recorded once for a few numbers of images (CUDA graphs): to launch its many small
    kernels one by one takes longer than they do."""

    sizes = (1, 2, 4, 8, 16)

    def __init__(self, network: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        super().__init__()
        network = folded(copy.deepcopy(network), precision)
        shape = (self.sizes[-1], 1, SIZE, SIZE)
        self._sent = torch.zeros(shape, pin_memory=True)  # from where a GPU reads by itself
        self._images = torch.zeros(shape, device=device)
        # One at a time is replayed, and its readings are copied before the next: so all may use
        # the same memory, which the largest takes first.
        self._memory = torch.cuda.graph_pool_handle()
        self._recorded = {size: self._record(network, size) for size in reversed(self.sizes)}

    def forward(self, images: Tensor) -> Tensor:
        """As the network's own."""
        return torch.cat([self._part(part) for part in torch.split(images, self.sizes[-1])])

    @torch.inference_mode()
    def _part(self, images: Tensor) -> Tensor:
        count = len(images)
        graph, readings = self._recorded[_next(self.sizes, count)]
        self._sent[:count] = images
        self._images[:count].copy_(self._sent[:count], non_blocking=True)
        graph.replay()
        return readings[:count].cpu()

    @torch.inference_mode()
    def _record(self, network: nn.Module, size: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        images = self._images[:size]
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # in which kernels are chosen and memory is taken
                network(images)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            readings = network(images)
        return graph, readings


def serving_form(network: nn.Module, device: torch.device, bfloat16: bool = True) -> nn.Module:
    """What answers instead of ``network``, with readings that differ by rounding alone.

    Args:
        network: a :class:`ServedNet` on ``device``, for inference; left as it is.
        bfloat16: as the setting of this name.
    """
    if device.type == "cuda":
        native = bfloat16 and torch.cuda.is_bf16_supported(including_emulation=False)
        return GpuForm(network, device, torch.bfloat16 if native else torch.float32)
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    return CpuForm(network, best_precision() if bfloat16 else torch.float32)


@torch.inference_mode()
def warm_up(form: nn.Module) -> None:
    """The first passes set up kernels and memory: before READY, not in the first callers' time."""
    for count in getattr(form, "sizes", (1,)):
        for _ in range(_PASSES):
            form(torch.zeros(count, 1, SIZE, SIZE))


@torch.inference_mode()
def _compiled(network: nn.Module, example: Tensor) -> nn.Module:
    """By TorchScript, whose graph runs without Python and so without its lock: threads that compute
    side by side no longer wait for each other. torch prefers its newer compilers, which need one
    for C++ where they run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Packed):  # whose layouts a trace cannot hold
                    setattr(parent, name, torch.jit.script(child))
        trace: Any = torch.jit.trace
        traced: nn.Module = trace(network, example, check_trace=False)
    return traced


def _next(sizes: tuple[int, ...], count: int) -> int:
    return next(size for size in sizes if size >= count)
