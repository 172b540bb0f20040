"""How each version is trained, from films to weights with their calibration and gate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from chest_xray.network.stages import OPERATING_POINTS, ServedNet, StagedNet
from chest_xray.transform import SIZE
from chest_xray_original import VotingNet
from chest_xray_residual import ResidualNet, side_by_side
from chest_xray_training import loop, robust, taught
from chest_xray_training.calibration import fit_calibration
from chest_xray_training.dataset import CHILDREN, FilmDataset
from chest_xray_training.elsewhere import as_met_elsewhere
from chest_xray_training.gating import GateRecipe, fit_gate
from chest_xray_training.loop import stored
from chest_xray_training.metrics import operating_points
from chest_xray_training.orienting import fit_orientation
from chest_xray_training.patients import fit_child_calibration, fit_head, fit_recognition
from chest_xray_v4 import ChestXrayV4
from chest_xray_versions import build_network, network_class

Recipe = loop.Recipe | robust.RobustRecipe | taught.TaughtRecipe
_PLACES = 100_000  # that a threshold between 0 and 1 can have
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
        assert not isinstance(self.recipe, taught.TaughtRecipe)
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


def calibrate(served: ServedNet, run: Run) -> None:
    """Fit one calibration for all films."""
    logits, targets = loop.all_outputs(served.network, run.valid_films, run.device)
    temperature, bias = fit_calibration(logits, targets)
    served.temperature.fill_(temperature)
    served.bias.copy_(torch.tensor(bias))


def calibrate_by_patient(served: ServedNet, run: Run) -> None:
    """Fit the calibration of adults' films, and all that films of children are read with."""
    served = cast(ChestXrayV4, served)
    network, part = cast(ResidualNet, served.network), served.of_children
    children, valid_children = _of_children(run.train_films), _of_children(run.valid_films)
    logits, targets = loop.all_outputs(network, run.valid_films, run.device)
    temperature, bias = fit_calibration(logits[~valid_children], targets[~valid_children])
    served.temperature.fill_(temperature)
    served.bias.copy_(torch.tensor(bias))
    # Without films of children, all films are read alike, whatever they look like.
    part.head.load_state_dict(network.head.state_dict())
    part.temperature.fill_(temperature)
    part.bias.copy_(served.bias)
    if not (children.any() and valid_children.any()):
        return

    def features_of(images: Tensor) -> Tensor:
        return part.features(network.stages(images)[-1])

    def mirrored(images: Tensor) -> Tensor:
        return features_of(images.flip(3))

    seen = [loop.all_outputs(each, run.train_films, run.device) for each in (features_of, mirrored)]
    features, labels = (torch.cat(each) for each in zip(*seen, strict=True))
    children = children.repeat(len(seen))
    fit_recognition(part, features, children)
    fit_head(part, features, labels, children, network.head)
    features, labels = loop.all_outputs(features_of, run.valid_films, run.device)
    fit_child_calibration(part, features, labels, valid_children)


def _of_children(films: FilmDataset) -> Tensor:
    """bool (N,)."""
    return torch.tensor([film.source == CHILDREN for film in films.films])


@dataclass(frozen=True)
class Training:
    """What a version's recipe stands for."""

    presets: Mapping[str, Recipe]
    """Numbers to train with, by name; the first ones are the default."""

    train: Callable[[ServedNet, Run], Histories]
    """Trains the network of a version; what else serving needs follows afterwards."""

    gate: GateRecipe = GateRecipe()
    """What the gate is fitted on."""

    calibrate: Callable[[ServedNet, Run], None] = calibrate
    """Makes the probabilities honest, on the validation split."""


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


def train_students(served: ServedNet, run: Run) -> Histories:
    """Train teachers, then the members of a :class:`ResidualNet` as their students, and the eye for
    films that are turned or inverted."""
    network, recipe = cast(ResidualNet, served.network), run.recipe
    assert isinstance(recipe, taught.TaughtRecipe)
    together, histories = taught.train(
        recipe, network.members, run.train_films, run.valid_films, run.out, run.progress
    )
    network.load_state_dict(together.state_dict())
    run.progress("orientation", 0, 1)
    orientation = fit_orientation(run.train_films.images(SIZE))
    cast(ChestXrayV4, served).orientation.load_state_dict(orientation.state_dict())
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
    "members": Training({"robust": robust.RobustRecipe()}, train_members),
    "students": Training(
        {"taught": taught.TaughtRecipe()},
        train_students,
        # Harder variants of films, and more of what is none.
        GateRecipe(drawn=6000, variant=as_met_elsewhere, refused=0.005),
        calibrate_by_patient,
    ),
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
    training = training_of(version)
    histories = training.train(served, run)
    served.to(run.device).eval()
    run.progress("calibration and gate", 0, 1)
    training.calibrate(served, run)
    choose_operating_points(served, run.valid_films, run.device)
    fit_gate(served, run.train_films, run.valid_films, run.device, training.gate)
    torch.save(stored(served), run.out / loop.WEIGHTS)
    return histories


def choose_operating_points(
    served: ServedNet, valid_films: FilmDataset, device: torch.device
) -> None:
    """Choose the thresholds of a calibrated network's probabilities."""
    readings, targets = loop.all_outputs(served, valid_films, device)
    probabilities = readings[:, : len(served.labels)].double().softmax(1)
    points = operating_points(targets.cpu().numpy(), probabilities.cpu().numpy(), served.labels)
    rows = [[points[label][name] for name in OPERATING_POINTS] for label in served.labels]
    # Rounded down, so that in every precision the films that they were read from reach them.
    served.operating_points.copy_((torch.tensor(rows) * _PLACES).floor() / _PLACES)
