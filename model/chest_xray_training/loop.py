"""The training loop: seeded, resumable, keeps the weights of the best validation loss."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WEIGHTS = "weights.pt"
CHECKPOINT = "checkpoint.pt"
HISTORY = "history.json"


@dataclass(frozen=True)
class Recipe:
    """How a version is trained: SGD without momentum on cross entropy."""

    epochs: int
    """Most epochs to train."""
    patience: int
    """Stop after this many epochs without a better validation loss."""
    learning_rate: float = 0.05
    batch_size: int = 20
    seed: int = 0


PRESETS = {
    # The original report: one epoch. Its learning rate and batch size are Recipe's defaults.
    "original": Recipe(epochs=1, patience=1),
    # The same, for as long as the validation loss keeps falling.
    "converged": Recipe(epochs=200, patience=20),
}

Films = Dataset[tuple[Tensor, int]]
Progress = Callable[[int, int, int], None]
"""Called after each step with epoch (from 1), step (from 1) and steps per epoch."""


def train(
    model: nn.Module,
    recipe: Recipe,
    train_films: Films,
    valid_films: Films,
    out: Path,
    device: torch.device,
    progress: Progress = lambda epoch, step, steps: None,
) -> list[dict[str, float]]:
    """Train ``model`` and leave ``weights.pt``, ``checkpoint.pt`` and ``history.json`` in ``out``.

    A run that was cut off goes on from its last whole epoch and ends with the same weights as
    one that was not: all randomness of an epoch follows from the seed and the epoch's number.

    Returns:
        One mapping per epoch: epoch, train_loss, valid_loss, valid_accuracy.

    Raises:
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate)
    history = _resume(out / CHECKPOINT, recipe, model, optimizer, device)

    while not _finished(history, recipe):
        epoch = len(history) + 1
        train_loss = _train_epoch(model, optimizer, recipe, epoch, train_films, device, progress)
        valid_loss, valid_accuracy = _validate(model, valid_films, device)
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
            _save(out / WEIGHTS, {k: v.cpu() for k, v in model.state_dict().items()})
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        _save(out / CHECKPOINT, {"recipe": asdict(recipe), "history": history, **state})
        (out / HISTORY).write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
    return history


def logits_of(
    model: nn.Module, films: Films, device: torch.device, batch_size: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits float32 (N, 3) and targets int64 (N,), on the CPU, batch by batch, in order."""
    model.eval()
    with torch.inference_mode():
        for images, targets in DataLoader(films, batch_size):
            yield model(images.to(device)).cpu(), targets


def _resume(
    path: Path,
    recipe: Recipe,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> list[dict[str, float]]:
    if not path.exists():
        return []
    checkpoint = torch.load(path, map_location=device, weights_only=True)
    if checkpoint["recipe"] != asdict(recipe):
        raise ValueError(f"{path} belongs to another recipe: {checkpoint['recipe']}")
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    history: list[dict[str, float]] = checkpoint["history"]
    return history


def _finished(history: list[dict[str, float]], recipe: Recipe) -> bool:
    losses = [row["valid_loss"] for row in history]
    stale = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return len(losses) >= recipe.epochs or stale >= recipe.patience


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
    films: Films,
    device: torch.device,
    progress: Progress,
) -> float:
    """One pass over the films in a new order; returns the mean loss."""
    torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout and order of this epoch
    loader = DataLoader(films, recipe.batch_size, shuffle=True)
    model.train()
    total, count = 0.0, 0
    for step, (images, targets) in enumerate(loader, start=1):
        loss = nn.functional.cross_entropy(model(images.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item() * len(targets)
        count += len(targets)
        progress(epoch, step, len(loader))
    return total / count


def _validate(model: nn.Module, films: Films, device: torch.device) -> tuple[float, float]:
    batches = list(logits_of(model, films, device))
    logits = torch.cat([batch for batch, _ in batches])
    targets = torch.cat([batch for _, batch in batches])
    loss = nn.functional.cross_entropy(logits, targets).item()
    return loss, (logits.argmax(1) == targets).float().mean().item()


def _save(path: Path, content: Any) -> None:
    """Write beside and rename, so that a cut never leaves half a file."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)
