"""The training loop of the original network. It is seeded and resumable, and keeps the weights with
the lowest validation loss."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from chest_xray.files import replacing

WEIGHTS = "weights.pt"
CHECKPOINT = "checkpoint.pt"
HISTORY = "history.json"
_FEW = 16  # numbers, as the calibration has at most; they stay as they are in a file


@dataclass(frozen=True)
class Recipe:
    """How the original network is trained: SGD without momentum."""

    epochs: int
    """The number of epochs after which training ends at the latest."""
    patience: int
    """The number of epochs without a better validation loss after which training ends."""
    learning_rate: float = 0.05
    batch_size: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Objective:
    """What a network is trained for."""

    loss: Callable[[Tensor, Tensor], Tensor]
    """The mean loss of logits float32 (N, outputs) for targets int64 (N,), indices of labels."""

    hits: Callable[[Tensor, Tensor], Tensor]
    """Which rows are right, bool (N,)."""


def one_of_all() -> Objective:
    """To say which label it is, by cross entropy."""
    return Objective(
        nn.functional.cross_entropy, lambda logits, targets: logits.argmax(1) == targets
    )


def one_against_the_rest(label: int) -> Objective:
    """To say with one output whether it is this label, by binary cross entropy."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        wanted = (targets == label).float()
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], wanted)

    return Objective(loss, lambda logits, targets: (logits[:, 0] > 0) == (targets == label))


Films = Dataset[tuple[Tensor, int]]
History = list[dict[str, float]]
"""The losses of a training, in order."""
Progress = Callable[[int, int, int], None]
"""Called after each step with the epoch, the step (both from 1) and the steps per epoch."""


def train(
    model: nn.Module,
    recipe: Recipe,
    train_films: Films,
    valid_films: Films,
    out: Path,
    device: torch.device,
    progress: Progress = lambda epoch, step, steps: None,
    objective: Objective | None = None,
) -> History:
    """Train ``model`` and leave ``weights.pt``, ``checkpoint.pt`` and ``history.json`` in ``out``.

    A run that was cut off goes on from its last whole epoch and ends with the same weights as
    one that was not: all randomness of an epoch follows from the seed and the epoch's number.

    Returns:
        One mapping per epoch: epoch, train_loss, valid_loss, valid_accuracy.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    reset(model.to(device), recipe.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate)
    objective = objective or one_of_all()
    history: History = []
    if checkpoint := resume(out, asdict(recipe), device):
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        history = checkpoint["history"]

    while not _finished(history, recipe):
        epoch = len(history) + 1
        train_loss = _train_epoch(
            model, optimizer, objective, recipe, epoch, train_films, device, progress
        )
        valid_loss, valid_accuracy = validate(model, objective, valid_films, device)
        best = min((row["valid_loss"] for row in history), default=float("inf"))
        history.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
            }
        )
        if valid_loss < best:
            save_weights(model, out)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(out, asdict(recipe), history, state)
    return history


def reset(model: nn.Module, seed: int) -> None:
    """Give a network fresh weights that follow from the seed."""
    torch.manual_seed(seed)
    for module in model.modules():
        if callable(fresh := getattr(module, "reset_parameters", None)):
            fresh()


def outputs_of(
    network: Callable[[Tensor], Tensor], films: Films, device: torch.device, batch_size: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a network in evaluation mode says (N, outputs), and the targets int64 (N,), both on the
    CPU, batch by batch and in order."""
    with torch.inference_mode():
        for images, targets in DataLoader(films, batch_size):
            yield network(images.to(device)).cpu(), targets


def all_outputs(
    network: Callable[[Tensor], Tensor], films: Films, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The same for all films at once."""
    batches = list(outputs_of(network, films, device))
    return torch.cat([output for output, _ in batches]), torch.cat(
        [targets for _, targets in batches]
    )


def resume(out: Path, recipe: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The checkpoint of an earlier run in this folder, if there is one.

    Raises:
        ValueError: it belongs to another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / CHECKPOINT
    if not path.exists():
        return None
    checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if checkpoint["recipe"] != recipe:
        raise ValueError(f"{path} belongs to another recipe: {checkpoint['recipe']}")
    return checkpoint


def save_weights(model: nn.Module, out: Path) -> None:
    save(out / WEIGHTS, {name: value.cpu() for name, value in model.state_dict().items()})


def save_checkpoint(
    out: Path, recipe: dict[str, Any], history: History, state: dict[str, Any]
) -> None:
    """Write all that a run needs to go on, and the history for people."""
    save(out / CHECKPOINT, {"recipe": recipe, "history": history, **state})
    (out / HISTORY).write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")


def stored(network: nn.Module) -> dict[str, Tensor]:
    """The state dict as it is kept: in half precision, which halves the file, but for tensors of a
    few numbers."""
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    return {
        name: value.half() if value.is_floating_point() and value.numel() > _FEW else value
        for name, value in state.items()
    }


def _finished(history: History, recipe: Recipe) -> bool:
    losses = [row["valid_loss"] for row in history]
    stale = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return len(losses) >= recipe.epochs or stale >= recipe.patience


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    recipe: Recipe,
    epoch: int,
    films: Films,
    device: torch.device,
    progress: Progress,
) -> float:
    """Make one pass over the films in a new order; returns the mean loss."""
    torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout and order of this epoch
    loader = DataLoader(films, recipe.batch_size, shuffle=True)
    model.train()
    total, count = 0.0, 0
    for step, (images, targets) in enumerate(loader, start=1):
        loss = objective.loss(model(images.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item() * len(targets)
        count += len(targets)
        progress(epoch, step, len(loader))
    return total / count


def validate(
    model: nn.Module, objective: Objective, films: Films, device: torch.device
) -> tuple[float, float]:
    """The mean loss, and the share of films that is right."""
    logits, targets = all_outputs(model.eval(), films, device)
    loss = objective.loss(logits, targets).item()
    return loss, objective.hits(logits, targets).float().mean().item()


def save(path: Path, content: Any) -> None:
    """Never leaves half a file, even if it is interrupted."""
    with replacing(path) as file:
        torch.save(content, file)
