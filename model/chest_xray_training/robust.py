"""The training loop of version 3.0, made so that the network learns lungs and not the hospital.

It is seeded and resumable like :mod:`.loop`. What differs are the optimiser, the augmentation, the
averaged weights, and that films are drawn by label and source.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from chest_xray.network.convolution import best_precision
from chest_xray.network.stages import StagedNet
from chest_xray_training import augmentation, loop, stepwise
from chest_xray_training.dataset import Film, FilmDataset

_CHUNK = 250  # steps between checkpoints
_MARGIN = 8 / 7  # side of the films that the augmentation cuts from, to the side that it gives
_MOST_OFTEN = 6.0  # times the average: the odds of a film of a rare kind are not higher


@dataclass(frozen=True)
class RobustRecipe(stepwise.StepRecipe):
    """How one residual network is trained."""

    steps: int = 7000
    learning_rate: float = 3e-3
    side: int = 112
    """The side of the augmented films, in pixels."""
    source_power: float = 0.5
    """Within a label, a source is drawn in proportion to its number of films to this power."""
    use_contradicted: bool = False
    """Whether to learn from films whose label radiologists contradict, too."""


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
    batches = _Batches(films, recipe)

    def begin(done: int) -> None:
        torch.manual_seed(recipe.seed * 100_003 + done)  # all that is drawn in this chunk
        network.train()

    def loss(step: int) -> Tensor:
        images, wanted = batches.draw()
        return _loss(network, images.to(device), wanted.to(device))

    def validate(averaged: StagedNet) -> tuple[float, float]:
        return loop.validate(averaged, loop.one_of_all(), valid_films, device)

    return stepwise.train(
        network,
        list(network.parameters()),
        recipe,
        stepwise.Task(begin, loss, validate),
        out,
        device,
        _CHUNK,
        progress,
        keep_best=keep_best,
    )


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


def _loss(network: StagedNet, images: Tensor, wanted: Tensor) -> Tensor:
    # bfloat16 is several times as fast where the device computes it natively, and close enough to
    # learn with. Elsewhere it is emulated, which takes ten times as long as float32.
    with torch.autocast(images.device.type, torch.bfloat16, enabled=_has_bfloat16(images.device)):
        maps = network.stages(images.contiguous(memory_format=torch.channels_last))[-1]
    return nn.functional.cross_entropy(network.scores(maps.float()), wanted)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return best_precision() == torch.bfloat16
