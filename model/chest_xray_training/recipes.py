"""How each version is trained, from films to weights with their calibration and gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from chest_xray.labels import LABELS
from chest_xray.network.stages import ServedNet, StagedNet
from chest_xray_original import VotingNet
from chest_xray_residual import MEMBERS, ResidualNet, side_by_side
from chest_xray_training import loop, robust
from chest_xray_training.calibration import fit_calibration
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.gating import fit_gate
from chest_xray_versions import build_network

Recipe = loop.Recipe | robust.RobustRecipe
PRESETS: dict[str, Recipe] = {
    # The original report: one epoch. Its learning rate and batch size are Recipe's defaults.
    "original": loop.Recipe(epochs=1, patience=1),
    # The same, for as long as the validation loss keeps falling.
    "converged": loop.Recipe(epochs=200, patience=20),
    "robust": robust.RobustRecipe(),
}


def default_preset(version: str) -> str:
    """What a version is trained with unless told otherwise."""
    return "robust" if version.startswith("3.") else "converged"


@dataclass(frozen=True)
class Run:
    """What every recipe needs."""

    recipe: Recipe
    train_films: FilmDataset
    valid_films: FilmDataset
    out: Path
    device: torch.device
    progress: Callable[[str, int, int], None]
    """Called with what is being trained, the step and the number of steps."""

    def train(
        self,
        name: str,
        network: StagedNet,
        folder: Path,
        objective: loop.Objective | None = None,
        seed: int = 0,
    ) -> loop.History:
        """Train one network in a folder of its own and load the weights that are kept."""
        recipe = replace(self.recipe, seed=self.recipe.seed + seed)
        if isinstance(recipe, robust.RobustRecipe):
            history = robust.train(
                network,
                recipe,
                self.train_films,
                self.valid_films,
                folder,
                self.device,
                lambda *steps: self.progress(name, *steps),
            )
        else:
            history = loop.train(
                network,
                recipe,
                self.train_films,
                self.valid_films,
                folder,
                self.device,
                lambda epoch, *steps: self.progress(f"{name}, epoch {epoch}", *steps),
                objective,
            )
        network.load_state_dict(torch.load(folder / loop.WEIGHTS, weights_only=True))
        return history


def train_version(version: str, run: Run) -> dict[str, loop.History]:
    """Train a version's network and leave its weights in ``run.out / "weights.pt"``.

    Returns:
        One learning curve per network that was trained.

    Raises:
        ValueError: there is no such version, or ``run.out`` holds another recipe's checkpoint.
    """
    served = build_network(version)
    network = served.network
    if isinstance(network, ResidualNet):  # members differ by their seed
        members = [ResidualNet(len(LABELS)) for _ in range(MEMBERS)]
        histories = {
            f"member {seed}": run.train(
                f"member {seed}", member, run.out / f"member-{seed}", seed=seed
            )
            for seed, member in enumerate(members)
        }
        network.load_state_dict(side_by_side(members).state_dict())
    elif isinstance(network, VotingNet):  # each member knows one label
        histories = {
            label: run.train(label, member, run.out / label, loop.one_against_the_rest(index))
            for index, (label, member) in enumerate(zip(LABELS, network.nets(), strict=True))
        }
    else:
        histories = {version: run.train(version, network, run.out / "network")}
    run.progress("calibration and gate", 0, 1)
    finish(served, run.train_films, run.valid_films, run.device)
    torch.save(stored(served), run.out / loop.WEIGHTS)
    return histories


def finish(
    served: ServedNet, train_films: FilmDataset, valid_films: FilmDataset, device: torch.device
) -> None:
    """Fit what serving needs besides the weights."""
    served.to(device).eval()
    logits, targets = loop.all_outputs(served.network, valid_films, device)
    temperature, bias = fit_calibration(logits, targets)
    served.temperature.fill_(temperature)
    served.bias.copy_(torch.tensor(bias))
    fit_gate(served, train_films, valid_films, device)


def stored(network: nn.Module) -> dict[str, Tensor]:
    """The state dict as it is kept: numbers in half precision, which halves the files."""
    return {
        name: value.cpu().half() if value.is_floating_point() and value.numel() > 3 else value.cpu()
        for name, value in network.state_dict().items()
    }
