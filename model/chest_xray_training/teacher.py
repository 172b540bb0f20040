"""The teacher of version 4.0: EfficientNet-Lite0, ImageNet's weights, learns on kept views.

Its early blocks stay as they are, so their maps of every view are computed once. What is trained
are the late blocks, on those maps.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chest_xray_training import loop
from chest_xray_training.augmentation import mix
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.lite import LiteNet, folded

_CHUNK = 200  # steps between checkpoints
_CACHED = 8  # images at a time whose early maps stay in the processor's cache
_BATCH = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TeacherRecipe:
    """How one teacher is trained: AdamW and one learning-rate cycle."""

    side: int = 160
    """The side of the image that it looks at, in pixels."""
    views: int = 32_000
    """The number of views that it learns from, the first ones."""
    steps: int = 750
    batch_size: int = 32
    learning_rate: float = 7e-4
    """The highest one of the cycle."""
    weight_decay: float = 0.05
    averaging: float = 0.995
    """The share of the old average in each step of the exponential moving average of the weights,
    which is what is kept."""
    mixup: float = 0.2
    cutmix: float = 0.2
    smoothing: float = 0.05
    seed: int = 0


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
            torch.save(torch.cat(maps), path.with_suffix(".partial"))
            path.with_suffix(".partial").replace(path)
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
    averaged = copy.deepcopy(network)
    parameters = list(late.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    parts: dict[str, Any] = {
        "network": network,
        "averaged": averaged,
        "optimizer": optimizer,
        "schedule": schedule,
    }
    history: loop.History = []
    if checkpoint := loop.resume(out, asdict(recipe), torch.device("cpu")):
        history = checkpoint["history"]
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
    count = len(valid_films.labels)
    wanted = nn.functional.one_hot(targets, count).float()
    wanted = wanted * (1 - recipe.smoothing) + recipe.smoothing / count
    valid_maps = early_of(network, valid_films.images(recipe.side))
    done = int(history[-1]["step"]) if history else 0
    while done < recipe.steps:
        losses = []
        network.eval()
        late.train()
        for step in range(done, min(done + _CHUNK, recipe.steps)):
            chosen = in_passes(len(maps), recipe.batch_size, step, recipe.seed)
            torch.manual_seed(recipe.seed * 100_003 + step)  # all that this step draws
            seen, aim = mix(maps[chosen].float(), wanted[chosen], recipe.mixup, recipe.cutmix)
            logits = network.late(seen.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, aim)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 2.0)
            optimizer.step()
            schedule.step()
            average(averaged, network, min(recipe.averaging, (1 + step) / (10 + step)))
            losses.append(loss.item())
            progress(step + 1, recipe.steps)
        done = step + 1
        logits = late_of(averaged, valid_maps)
        truths = valid_films.targets()
        history.append(
            {
                "step": done,
                "train_loss": sum(losses) / len(losses),
                "valid_loss": nn.functional.cross_entropy(logits, truths).item(),
                "valid_accuracy": (logits.argmax(1) == truths).float().mean().item(),
            }
        )
        if done == recipe.steps:
            loop.save_weights(averaged, out)
        state = {name: part.state_dict() for name, part in parts.items()}
        loop.save_checkpoint(out, asdict(recipe), history, state)
    return history


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


def average(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the average a little towards the network."""
    for kept, new in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - share)
        else:
            kept.copy_(new)
