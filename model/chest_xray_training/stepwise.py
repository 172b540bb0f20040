"""Training by steps: AdamW, one learning-rate cycle, averaged weights, checkpoints by chunk."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from chest_xray_training import loop


@dataclass(frozen=True)
class StepRecipe:
    """What all recipes by steps say."""

    steps: int
    learning_rate: float
    """The highest one of the cycle."""
    batch_size: int = 32
    weight_decay: float = 0.05
    averaging: float = 0.998
    """The share of the old average in each step of the exponential moving average of the weights,
    which is what is kept."""
    mixup: float = 0.2
    cutmix: float = 0.2
    smoothing: float = 0.02
    """How much of a label's share is spread over all labels."""
    seed: int = 0


class Task(NamedTuple):
    """What differs between trainings by steps."""

    begin: Callable[[int], None]
    """Is called before each chunk with the number of steps that are done; brings the network into
    the mode that it learns in."""

    loss: Callable[[int], Tensor]
    """The loss of a step, of which the gradient is taken."""

    validate: Callable[[Any], tuple[float, float]]
    """The averaged network's mean loss and share of right answers on the validation films."""


def train(
    network: nn.Module,
    parameters: Sequence[nn.Parameter],
    recipe: StepRecipe,
    task: Task,
    out: Path,
    device: torch.device,
    chunk: int,
    progress: Callable[[int, int], None],
    *,
    div_factor: float = 20,
    final_div_factor: float = 100,
    keep_best: bool = False,
) -> loop.History:
    """Train ``network``; leave its averaged weights, a checkpoint and the history in ``out``.

    Args:
        parameters: of the network, that are trained.
        chunk: the number of steps between checkpoints.
        progress: is called after each step with its number and the number of steps.
        div_factor, final_div_factor: of torch's OneCycleLR.
        keep_best: keep the weights that are right most often on the validation films, instead of
            the last ones.

    Returns:
        One mapping per chunk: step, train_loss, valid_loss, valid_accuracy.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    averaged = copy.deepcopy(network)
    optimizer = _optimizer(parameters, recipe.learning_rate, recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=recipe.steps,
        pct_start=0.1,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
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
    done = int(history[-1]["step"]) if history else 0
    while done < recipe.steps:
        losses = []
        task.begin(done)
        for step in range(done, min(done + chunk, recipe.steps)):
            loss = task.loss(step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 2.0)
            optimizer.step()
            schedule.step()
            _average(averaged, network, min(recipe.averaging, (1 + step) / (10 + step)))
            losses.append(loss.item())
            progress(step + 1, recipe.steps)
        done = step + 1
        valid_loss, valid_accuracy = task.validate(averaged)
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


def _optimizer(
    parameters: Sequence[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Weight decay for what multiplies maps, not for biases and normalisation."""
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in parameters if weight.ndim > 1]},
        {"params": [weight for weight in parameters if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)


def _average(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the average a little towards the network."""
    for kept, new in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - share)
        else:
            kept.copy_(new)
