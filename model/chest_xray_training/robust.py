"""The training loop of version 3.0: made to learn lungs and not the hospital.

Seeded and resumable like :mod:`.loop`; what differs is the optimiser, the augmentation, films drawn
by label and source, and averaged weights.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chest_xray.labels import LABELS
from chest_xray.network.convolution import best_precision
from chest_xray.network.stages import StagedNet
from chest_xray_training import augmentation, loop
from chest_xray_training.dataset import Film, FilmDataset

_CHUNK = 250  # steps between checkpoints
_MARGIN = 8 / 7  # side of the films that the augmentation cuts from, to the side that it gives
_MOST_OFTEN = 6.0  # times the average, that a film of a rare kind is drawn at most


@dataclass(frozen=True)
class RobustRecipe:
    """How one residual network is trained: AdamW and one learning-rate cycle."""

    steps: int = 7000
    batch_size: int = 32
    side: int = 112
    """Of the augmented films, in pixels."""
    learning_rate: float = 3e-3
    """The highest one."""
    weight_decay: float = 0.05
    averaging: float = 0.998
    """Of the exponential moving average of the weights, which is what is kept."""
    mixup: float = 0.2
    cutmix: float = 0.2
    smoothing: float = 0.02
    source_power: float = 0.5
    """Within a label, a source is drawn in proportion to its number of films to this power."""
    use_contradicted: bool = False
    """Learn from films whose label radiologists contradict, too."""
    seed: int = 0


def train(
    network: StagedNet,
    recipe: RobustRecipe,
    films: FilmDataset,
    valid_films: FilmDataset,
    out: Path,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    *,
    keep_best: bool = False,
) -> loop.History:
    """Train ``network``; leave its averaged weights, a checkpoint and the history in ``out``.

    Args:
        valid_films: only measured now and then, for the history,
        keep_best: unless the weights that are right most often there shall be kept.
        progress: called after each step with its number and the number of all.

    Returns:
        One mapping per chunk: step, train_loss, valid_loss, valid_accuracy.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    loop.reset(network, recipe.seed)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network)
    optimizer = _optimizer(network, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=recipe.steps,
        pct_start=0.1,
        div_factor=20,
        final_div_factor=100,
    )
    parts: dict[str, Any] = {
        "network": network,
        "averaged": averaged,
        "optimizer": optimizer,
        "schedule": schedule,
    }
    history: loop.History = []
    if checkpoint := loop.resume(out, asdict(recipe), device):
        history = checkpoint["history"]
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])

    pool = films.images(round(recipe.side * _MARGIN))
    targets = nn.functional.one_hot(films.targets(), len(LABELS)).float()
    targets = targets * (1 - recipe.smoothing) + recipe.smoothing / len(LABELS)
    odds = sampling_odds(films.films, recipe.source_power)
    if not recipe.use_contradicted:
        odds[[film.contradicted for film in films.films]] = 0
    done = int(history[-1]["step"]) if history else 0
    while done < recipe.steps:
        torch.manual_seed(recipe.seed * 100_003 + done)  # all that is drawn in this chunk
        losses = []
        network.train()
        for step in range(done, min(done + _CHUNK, recipe.steps)):
            chosen = torch.multinomial(odds, recipe.batch_size, replacement=True)
            images = augmentation.augment(pool[chosen].float() / 255, recipe.side)
            images, wanted = augmentation.mix(images, targets[chosen], recipe.mixup, recipe.cutmix)
            losses.append(_step(network, optimizer, images.to(device), wanted.to(device)))
            schedule.step()
            _average(averaged, network, min(recipe.averaging, (1 + step) / (10 + step)))
            progress(step + 1, recipe.steps)
        done = step + 1
        valid_loss, valid_accuracy = loop.validate(averaged, loop.one_of_all(), valid_films, device)
        best = max((row["valid_accuracy"] for row in history), default=-1.0)
        history.append(
            {
                "step": done,
                "train_loss": sum(losses) / len(losses),
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
            }
        )
        if valid_accuracy > best if keep_best else done == recipe.steps:
            loop.save_weights(averaged, out)
        state = {name: part.state_dict() for name, part in parts.items()}
        loop.save_checkpoint(out, asdict(recipe), history, state)
    return history


def sampling_odds(films: Sequence[Film], source_power: float) -> Tensor:
    """How often to draw each film, float64 (N,), sum 1: every label equally often, and within a
    label small sources more often than their films' number would make it."""
    counts = Counter((film.label, film.source) for film in films)
    totals = dict.fromkeys(LABELS, 0.0)
    for (label, _), count in counts.items():
        totals[label] += count**source_power
    odds = torch.tensor(
        [
            counts[film.label, film.source] ** (source_power - 1) / totals[film.label]
            for film in films
        ],
        dtype=torch.float64,
    )
    odds = (odds / odds.sum()).clamp_max(_MOST_OFTEN / len(films))
    return odds / odds.sum()


def _optimizer(network: nn.Module, recipe: RobustRecipe) -> torch.optim.Optimizer:
    """Weight decay for what multiplies maps, not for biases and normalisation."""
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _step(
    network: StagedNet, optimizer: torch.optim.Optimizer, images: Tensor, wanted: Tensor
) -> float:
    # bfloat16 is several times as fast where the device has it, and close enough to learn with; a
    # processor that has to imitate it is many times as slow.
    native = images.device.type != "cpu" or best_precision() == torch.bfloat16
    with torch.autocast(images.device.type, torch.bfloat16, enabled=native):
        maps = network.stages(images.contiguous(memory_format=torch.channels_last))[-1]
    loss = nn.functional.cross_entropy(network.scores(maps.float()), wanted)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    optimizer.step()
    return loss.item()


def _average(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the average a little towards the network."""
    for kept, new in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - share)
        else:
            kept.copy_(new)
