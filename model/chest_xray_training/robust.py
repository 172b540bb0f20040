"""The training loop of version 3.0, made so that the network learns lungs and not the hospital.

It is seeded and resumable like :mod:`.loop`. What differs are the optimiser, the augmentation, the
averaged weights, and that films are drawn by label and source.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chest_xray.network.convolution import best_precision
from chest_xray.network.stages import StagedNet
from chest_xray_training import augmentation, loop
from chest_xray_training.dataset import Film, FilmDataset

_CHUNK = 250  # steps between checkpoints
_MARGIN = 8 / 7  # side of the films that the augmentation cuts from, to the side that it gives
_MOST_OFTEN = 6.0  # times the average: the odds of a film of a rare kind are not higher


@dataclass(frozen=True)
class RobustRecipe:
    """How one residual network is trained: AdamW and one learning-rate cycle."""

    steps: int = 7000
    batch_size: int = 32
    side: int = 112
    """The side of the augmented films, in pixels."""
    learning_rate: float = 3e-3
    """The highest one of the cycle."""
    weight_decay: float = 0.05
    averaging: float = 0.998
    """The share of the old average in each step of the exponential moving average of the weights,
    which is what is kept."""
    mixup: float = 0.2
    cutmix: float = 0.2
    smoothing: float = 0.02
    source_power: float = 0.5
    """Within a label, a source is drawn in proportion to its number of films to this power."""
    use_contradicted: bool = False
    """Whether to learn from films whose label radiologists contradict, too."""
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
        valid_films: are measured after each chunk of steps, for the history.
        progress: is called after each step with its number and the number of steps.
        keep_best: keep the weights that are right most often on the validation films, instead of
            the last ones.

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

    batches = _Batches(films, recipe)
    done = int(history[-1]["step"]) if history else 0
    while done < recipe.steps:
        torch.manual_seed(recipe.seed * 100_003 + done)  # all that is drawn in this chunk
        losses = []
        network.train()
        for step in range(done, min(done + _CHUNK, recipe.steps)):
            images, wanted = batches.draw()
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


class _Batches:
    """Draws films at random, augmented and mixed."""

    def __init__(self, films: FilmDataset, recipe: RobustRecipe) -> None:
        self._recipe = recipe
        self._pool = films.images(round(recipe.side * _MARGIN))
        count = len(films.labels)
        certain = nn.functional.one_hot(films.targets(), count).float()
        self._targets = certain * (1 - recipe.smoothing) + recipe.smoothing / count
        self._odds = sampling_odds(films.films, recipe.source_power)
        if not recipe.use_contradicted:
            self._odds[[film.contradicted for film in films.films]] = 0

    def draw(self) -> tuple[Tensor, Tensor]:
        """One batch from torch's global generator: images float32 (N, 1, side, side), and shares of
        the labels float32 (N, labels)."""
        recipe = self._recipe
        chosen = torch.multinomial(self._odds, recipe.batch_size, replacement=True)
        images = augmentation.augment(self._pool[chosen].float() / 255, recipe.side)
        return augmentation.mix(images, self._targets[chosen], recipe.mixup, recipe.cutmix)


def sampling_odds(films: Sequence[Film], source_power: float) -> Tensor:
    """How often to draw each film, float64 (N,), sum 1: every label equally often, and within a
    label small sources more often than their films' number would make it."""
    counts = Counter((film.label, film.source) for film in films)
    totals: dict[str, float] = defaultdict(float)
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
        {"params": [weight for weight in parameters if weight.ndim > 1]},
        {"params": [weight for weight in parameters if weight.ndim <= 1], "weight_decay": 0.0},
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
    # bfloat16 is several times as fast where the device computes it natively, and close enough to
    # learn with. Elsewhere it is emulated, which takes ten times as long as float32.
    with torch.autocast(images.device.type, torch.bfloat16, enabled=_has_bfloat16(images.device)):
        maps = network.stages(images.contiguous(memory_format=torch.channels_last))[-1]
    loss = nn.functional.cross_entropy(network.scores(maps.float()), wanted)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    optimizer.step()
    return loss.item()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return best_precision() == torch.bfloat16


def _average(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the average a little towards the network."""
    for kept, new in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - share)
        else:
            kept.copy_(new)
