"""The students of version 4.0: small residual networks taught by a larger teacher's answers.

Knowledge distillation (Hinton et al. 2015), consistent as of Beyer et al. 2022: the teacher has
answered the very views that a student sees, mixed as its views are mixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from chest_xray_residual import ResidualNet
from chest_xray_training import loop, stepwise
from chest_xray_training.augmentation import mix
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.teacher import in_passes

_CHUNK = 200  # steps between checkpoints
_WIDER = 10  # pixels more than the student looks at, from which its part of a view is cut


@dataclass(frozen=True)
class DistillationRecipe(stepwise.StepRecipe):
    """How one student is taught."""

    steps: int = 4000
    learning_rate: float = 2e-3  # lower than from scratch: a student starts from trained weights
    side: int = 112
    """The side of what the student looks at, in pixels."""
    teacher: float = 0.7
    """The teacher's share of what is aimed at; the rest is the label's."""


class Lessons(NamedTuple):
    """What students learn from."""

    images: Tensor
    """uint8 (N, 1, H, H): augmented views of films."""

    targets: Tensor
    """int64 (N,): the label of every view."""

    taught: Tensor
    """float32 (N, labels): the probabilities that the teachers give every view."""


def train(
    network: ResidualNet,
    recipe: DistillationRecipe,
    lessons: Lessons,
    valid_films: FilmDataset,
    out: Path,
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> loop.History:
    """Teach one student; leave its averaged weights, a checkpoint and the history in ``out``.

    Args:
        network: one member, from whose weights it goes on.
        valid_films: are only measured, for the history.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    count = lessons.taught.shape[1]
    labels = functional.one_hot(lessons.targets, count).float()
    labels = labels * (1 - recipe.smoothing) + recipe.smoothing / count
    wanted = labels.lerp(lessons.taught, recipe.teacher)
    device = torch.device("cpu")

    def begin(done: int) -> None:
        network.train()

    def loss(step: int) -> Tensor:
        # A seed of its own for the order, or members would meet the views in the same one.
        chosen = in_passes(len(wanted), recipe.batch_size, step, recipe.seed + 1)
        torch.manual_seed(recipe.seed * 100_003 + step)  # all that this step draws
        images = parts_of(lessons.images[chosen], recipe.side)
        images, aim = mix(images, wanted[chosen], recipe.mixup, recipe.cutmix)
        logits = network(images.contiguous(memory_format=torch.channels_last))
        return functional.cross_entropy(logits, aim)

    def validate(averaged: ResidualNet) -> tuple[float, float]:
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
    )


def parts_of(views: Tensor, side: int) -> Tensor:
    """Views uint8 (N, 1, H, H) -> float32 (N, 1, side, side) in [0, 1]: a little of their border
    cut off, and every other one mirrored, so that the few passes over them do not repeat."""
    wider = side + int(torch.randint(0, _WIDER + 1, ()))
    images = functional.interpolate(
        views.float() / 255, size=(wider, wider), mode="bilinear", antialias=True
    )
    top, left = (int(torch.randint(0, wider - side + 1, ())) for _ in range(2))
    images = images[..., top : top + side, left : left + side]
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def members_of(together: ResidualNet) -> Sequence[ResidualNet]:
    """The networks that lie side by side in one, but that each has the mean of their heads' biases;
    undoes :func:`chest_xray_residual.side_by_side`."""
    count = together.members
    members = [ResidualNet(together.head.out_features) for _ in range(count)]
    for number, member in enumerate(members):
        state = {}
        for name, value in member.state_dict().items():
            whole = together.state_dict()[name]
            if name == "head.weight":
                state[name] = whole.chunk(count, dim=1)[number] * count
            elif name == "head.bias" or not value.ndim:
                state[name] = whole
            else:
                state[name] = whole.chunk(count)[number]
        member.load_state_dict(state)
    return members
