"""The students of version 4.0: small residual networks taught by a larger teacher's answers.

Knowledge distillation (Hinton et al. 2015), consistent as of Beyer et al. 2022: the teacher has
answered the very views that a student sees, mixed as its views are mixed.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from chest_xray_residual import ResidualNet
from chest_xray_training import loop
from chest_xray_training.augmentation import mix
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.teacher import average, in_passes

_CHUNK = 200  # steps between checkpoints
_WIDER = 10  # pixels more than the student looks at, from which its part of a view is cut


@dataclass(frozen=True)
class DistillationRecipe:
    """How one student is taught: AdamW and one learning-rate cycle."""

    steps: int = 4000
    batch_size: int = 32
    side: int = 112
    """The side of what the student looks at, in pixels."""
    learning_rate: float = 2e-3
    """The highest one of the cycle; a student starts from trained weights."""
    weight_decay: float = 0.05
    averaging: float = 0.998
    """The share of the old average in each step of the exponential moving average of the weights,
    which is what is kept."""
    mixup: float = 0.2
    cutmix: float = 0.2
    teacher: float = 0.7
    """The teacher's share of what is aimed at; the rest is the label's."""
    smoothing: float = 0.02
    """How much of the label's share is spread over all labels."""
    seed: int = 0


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
    averaged = copy.deepcopy(network).eval()
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
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
    if checkpoint := loop.resume(out, asdict(recipe), torch.device("cpu")):
        history = checkpoint["history"]
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
    count = lessons.taught.shape[1]
    labels = functional.one_hot(lessons.targets, count).float()
    labels = labels * (1 - recipe.smoothing) + recipe.smoothing / count
    wanted = labels.lerp(lessons.taught, recipe.teacher)
    done = int(history[-1]["step"]) if history else 0
    while done < recipe.steps:
        losses = []
        network.train()
        for step in range(done, min(done + _CHUNK, recipe.steps)):
            # A seed of its own for the order, or members would meet the views in the same one.
            chosen = in_passes(len(wanted), recipe.batch_size, step, recipe.seed + 1)
            torch.manual_seed(recipe.seed * 100_003 + step)  # all that this step draws
            images = parts_of(lessons.images[chosen], recipe.side)
            images, aim = mix(images, wanted[chosen], recipe.mixup, recipe.cutmix)
            logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, aim)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 2.0)
            optimizer.step()
            schedule.step()
            average(averaged, network, min(recipe.averaging, (1 + step) / (10 + step)))
            losses.append(loss.item())
            progress(step + 1, recipe.steps)
        done = step + 1
        valid_loss, valid_accuracy = loop.validate(
            averaged, loop.one_of_all(), valid_films, torch.device("cpu")
        )
        history.append(
            {
                "step": done,
                "train_loss": sum(losses) / len(losses),
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
            }
        )
        if done == recipe.steps:
            loop.save_weights(averaged, out)
        state = {name: part.state_dict() for name, part in parts.items()}
        loop.save_checkpoint(out, asdict(recipe), history, state)
    return history


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
