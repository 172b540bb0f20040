"""How each version is trained, from films to weights with their calibration and gate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from chest_xray.network.stages import ServedNet, StagedNet
from chest_xray_original import VotingNet
from chest_xray_residual import ResidualNet, side_by_side
from chest_xray_training import loop, protocols, robust
from chest_xray_training.calibration import fit_calibration
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.gating import fit_gate
from chest_xray_training.loop import stored
from chest_xray_versions import build_network, network_class

Recipe = loop.Recipe | robust.RobustRecipe
Histories = dict[str, loop.History]
"""A learning curve per network that was trained, by the network's name."""


@dataclass(frozen=True)
class Run:
    """One training of a version."""

    recipe: Recipe
    train_films: FilmDataset
    valid_films: FilmDataset
    out: Path
    """The folder of the weights and checkpoints."""
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


@dataclass(frozen=True)
class Training:
    """What a version's recipe stands for."""

    presets: Mapping[str, Recipe]
    """Numbers to train with, by name; the first ones are the default."""

    train: Callable[[ServedNet, Run], Histories]
    """Trains the network of a version; its calibration and gate follow afterwards."""

    measure: Callable[[Path, tuple[str, ...]], dict[str, Any]] | None = None
    """Measures experiments on the recipe, from a data set and the labels, for the report."""


def train_single(served: ServedNet, run: Run) -> Histories:
    """Train a network as a whole."""
    return {"network": run.train("network", served.network, run.out / "network")}


def train_voters(served: ServedNet, run: Run) -> Histories:
    """Train the members of a :class:`VotingNet`, each for one label against the rest."""
    members = zip(served.labels, cast(VotingNet, served.network).nets(), strict=True)
    return {
        label: run.train(label, member, run.out / label, loop.one_against_the_rest(index))
        for index, (label, member) in enumerate(members)
    }


def train_members(served: ServedNet, run: Run) -> Histories:
    """Train the members of a :class:`ResidualNet`, which differ by their seed."""
    network = cast(ResidualNet, served.network)
    members = [ResidualNet(len(served.labels)) for _ in range(network.members)]
    histories = {
        f"member {seed}": run.train(f"member {seed}", member, run.out / f"member-{seed}", seed=seed)
        for seed, member in enumerate(members)
    }
    network.load_state_dict(side_by_side(members).state_dict())
    return histories


_PLAIN = {
    # As long as the validation loss keeps falling; all else as in the original report.
    "converged": loop.Recipe(epochs=200, patience=20),
    # The original report: one epoch.
    "original": loop.Recipe(epochs=1, patience=1),
}
RECIPES: Mapping[str, Training] = {
    "single": Training(_PLAIN, train_single),
    "voters": Training(_PLAIN, train_voters),
    "members": Training({"robust": robust.RobustRecipe()}, train_members, protocols.measure),
}
"""What the recipes that versions name stand for."""


def training_of(version: str) -> Training:
    """How a version is trained.

    Raises:
        ValueError: there is no such version, or no such recipe.
    """
    name = network_class(version).recipe
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ValueError(f"version {version} names recipe {name!r}: expected one of {known}")
    return RECIPES[name]


def train_version(version: str, run: Run) -> Histories:
    """Train a version's network and leave its weights in ``run.out / "weights.pt"``.

    Raises:
        ValueError: there is no such version, or ``run.out`` holds another recipe's checkpoint.
    """
    served = build_network(version)
    histories = training_of(version).train(served, run)
    run.progress("calibration and gate", 0, 1)
    finish(served, run.train_films, run.valid_films, run.device)
    torch.save(stored(served), run.out / loop.WEIGHTS)
    return histories


def finish(
    served: ServedNet, train_films: FilmDataset, valid_films: FilmDataset, device: torch.device
) -> None:
    """Fit what serving needs besides the network's weights."""
    served.to(device).eval()
    logits, targets = loop.all_outputs(served.network, valid_films, device)
    temperature, bias = fit_calibration(logits, targets)
    served.temperature.fill_(temperature)
    served.bias.copy_(torch.tensor(bias))
    fit_gate(served, train_films, valid_films, device)
