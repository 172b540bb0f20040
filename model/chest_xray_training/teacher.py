"""The teacher of version 4.0: EfficientNet-Lite0, ImageNet's weights, learns on kept views.

Its early blocks stay as they are, so their maps of every view are computed once. What is trained
are the late blocks, on those maps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from chest_xray_training import loop, stepwise
from chest_xray_training.augmentation import mix
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.lite import LiteNet, folded

_CHUNK = 200  # steps between checkpoints
_CACHED = 8  # images at a time whose early maps stay in the processor's cache
_BATCH = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TeacherRecipe(stepwise.StepRecipe):
    """How one teacher is trained."""

    steps: int = 750
    learning_rate: float = 7e-4
    averaging: float = 0.995
    smoothing: float = 0.05
    side: int = 160
    """The side of the image that it looks at, in pixels."""
    views: int = 32_000
    """The number of views that it learns from, the first ones."""


def early_maps(
    network: LiteNet,
    images: Tensor,
    side: int,
    out: Path,
    progress: Progress = lambda done, count: None,
) -> Tensor:
    """What the early blocks make of every view, float16 (N, 80, side / 16, side / 16). It is kept
    in ``out``, from where an earlier run's is taken.

    Args:
        images: uint8 (N, 1, H, H); they are shrunk to ``side``.
    """
    out.mkdir(parents=True, exist_ok=True)
    early = folded(network)
    chunks = []
    parts = torch.split(images, 1000)
    for number, part in enumerate(parts):
        path = out / f"maps-{number:03}.pt"
        if not path.exists():
            with torch.inference_mode():
                maps = [
                    early.early(shrunk(each, side)).half() for each in torch.split(part, _CACHED)
                ]
            loop.save(path, torch.cat(maps))
        chunks.append(torch.load(path, weights_only=True))
        progress(number + 1, len(parts))
    return torch.cat(chunks)


def train(
    network: LiteNet,
    recipe: TeacherRecipe,
    maps: Tensor,
    targets: Tensor,
    valid_films: FilmDataset,
    out: Path,
    progress: Progress = lambda step, steps: None,
) -> loop.History:
    """Train the late blocks; leave the averaged weights, a checkpoint and the history in ``out``.

    Args:
        network: with ImageNet's weights.
        maps: as :func:`early_maps` gives them.
        targets: int64 (N,): the label of every view.
        valid_films: are only measured, for the history.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    torch.manual_seed(recipe.seed)
    network.head.reset_parameters()
    network.requires_grad_(False)
    late = nn.ModuleList(
        [network._blocks[network.early_blocks :], network._conv_head, network._bn1, network.head]
    )
    late.requires_grad_(True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    count = len(valid_films.labels)
    wanted = nn.functional.one_hot(targets, count).float()
    wanted = wanted * (1 - recipe.smoothing) + recipe.smoothing / count
    valid_maps, truths = early_of(network, valid_films.images(recipe.side)), valid_films.targets()

    def begin(done: int) -> None:
        network.eval()
        late.train()

    def loss(step: int) -> Tensor:
        chosen = in_passes(len(maps), recipe.batch_size, step, recipe.seed)
        torch.manual_seed(recipe.seed * 100_003 + step)  # all that this step draws
        seen, aim = mix(maps[chosen].float(), wanted[chosen], recipe.mixup, recipe.cutmix)
        logits = network.late(seen.contiguous(memory_format=torch.channels_last))
        return nn.functional.cross_entropy(logits, aim)

    def validate(averaged: LiteNet) -> tuple[float, float]:
        logits = late_of(averaged, valid_maps)
        right = (logits.argmax(1) == truths).float().mean().item()
        return nn.functional.cross_entropy(logits, truths).item(), right

    return stepwise.train(
        network,
        list(late.parameters()),
        recipe,
        stepwise.Task(begin, loss, validate),
        out,
        torch.device("cpu"),
        _CHUNK,
        progress,
        div_factor=25,
        final_div_factor=1e4,
    )


def early_of(network: LiteNet, images: Tensor) -> Tensor:
    """The early maps, float16, of images uint8 (N, 1, side, side)."""
    early = folded(network)
    with torch.inference_mode():
        return torch.cat(
            [early.early(each.float() / 255).half() for each in torch.split(images, _CACHED)]
        )


def late_of(network: LiteNet, maps: Tensor) -> Tensor:
    """Logits float32 (N, labels) of early maps."""
    late = folded(network)
    with torch.inference_mode():
        return torch.cat([late.late(each.float()) for each in torch.split(maps, _BATCH)])


def shrunk(images: Tensor, side: int) -> Tensor:
    """uint8 (N, 1, H, H) -> float32 (N, 1, side, side) in [0, 1], with antialiasing."""
    return nn.functional.interpolate(
        images.float() / 255, size=(side, side), mode="bilinear", antialias=True
    )


def in_passes(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """int64 (batch_size,): the rows of a step, so that every pass over all rows is in an order of
    its own and takes each once."""
    steps = count // batch_size
    chance = torch.Generator().manual_seed(seed * 1009 + step // steps)
    first = step % steps * batch_size
    return torch.randperm(count, generator=chance)[first : first + batch_size]
