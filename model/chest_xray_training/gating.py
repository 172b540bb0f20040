"""Films, and drawn images that are none -> the gate of a trained network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chest_xray.network.gate import HIDDEN, Gate
from chest_xray.network.stages import ServedNet
from chest_xray.transform import SIZE
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.drawn import as_stored_elsewhere, no_films

_EPOCHS = 12
_CERTAIN = 0.99
_BATCH = 64
_SEEN = 8  # films at a time that the network looks at, which takes least time for each


@dataclass(frozen=True)
class GateRecipe:
    """What a gate is fitted on. The defaults are those of versions 1.0 to 3.0."""

    drawn: int = 4500
    """The number of images that are no films."""
    variants: int = 2
    """The number of variants of each film."""
    variant: Callable[[np.random.Generator, NDArray[np.uint8]], NDArray[np.uint8]] = (
        as_stored_elsewhere
    )
    """Makes a variant of a film, both uint8 (224, 224)."""
    refused: float = 0.01
    """The share of validation films and their variants that the threshold refuses."""


def fit_gate(
    network: ServedNet,
    films: FilmDataset,
    valid_films: FilmDataset,
    device: torch.device,
    recipe: GateRecipe = GateRecipe(),
) -> None:
    """Fit ``network.gate`` to tell films, also as others store them, from images that are drawn by
    code (outlier exposure, Hendrycks et al. 2019)."""
    network.to(device).eval()
    pixels, valid_pixels = films.images(SIZE), valid_films.images(SIZE)
    drawn = np.stack(list(no_films(list(pixels[:, 0].numpy()), recipe.drawn, seed=0)))
    inside = describe(network, _with_variants(pixels, recipe, seed=1), device)
    outside = describe(network, torch.from_numpy(drawn)[:, None], device)
    valid = describe(network, _with_variants(valid_pixels, recipe, seed=2), device)

    gate = Gate(network.gate.widths)
    both = torch.cat([inside, outside])
    gate.mean.copy_(inside.mean(0))
    gate.scale.copy_(0.5 * both.std(0) + 0.5 * inside.std(0) + 1e-3)
    truths = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))])
    _fit(gate, gate.normalize(both), truths)
    with torch.no_grad():
        gate.head.bias.sub_(torch.quantile(gate.judge(gate.normalize(valid)), recipe.refused))
    network.gate.load_state_dict(gate.state_dict())


def describe(network: ServedNet, pixels: Tensor, device: torch.device) -> Tensor:
    """What the gate looks at in films uint8 (N, 1, 224, 224): (N, D) on the CPU, in the network's
    precision."""
    found, precision = [], network.gate.mean.dtype
    with torch.inference_mode():
        for batch in torch.split(pixels, _SEEN):
            images = network.upright((batch.float() / 255).to(device, precision))
            found.append(network.gate.describe(images, network.network.stages(images)).cpu())
    return torch.cat(found)


def _with_variants(pixels: Tensor, recipe: GateRecipe, seed: int) -> Tensor:
    chance = np.random.default_rng(seed)
    changed = [
        recipe.variant(chance, film)
        for _ in range(recipe.variants)
        for film in pixels[:, 0].numpy()
    ]
    return torch.cat([pixels, torch.from_numpy(np.stack(changed))[:, None]])


def _fit(gate: Gate, points: Tensor, truths: Tensor) -> None:
    torch.manual_seed(0)
    gate.hidden.reset_parameters()
    nn.init.normal_(gate.head.weight, std=HIDDEN**-0.5)
    nn.init.zeros_(gate.head.bias)
    batch, dropout = 2 * _BATCH, nn.Dropout(0.2)
    steps = len(points) // batch
    optimizer = torch.optim.AdamW(gate.parameters(), weight_decay=0.09)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=_EPOCHS * steps)
    targets = (1 - _CERTAIN) + truths * (2 * _CERTAIN - 1)
    for _ in range(_EPOCHS):
        for chosen in torch.split(torch.randperm(len(points))[: steps * batch], batch):
            logits = gate.judge(dropout(points[chosen]))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
