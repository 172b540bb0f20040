"""Films -> the experiments that ask what a network and its recipe have really learnt: which films
each network is trained on from the start, and on which it is measured."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chest_xray.network.stages import StagedNet
from chest_xray_original import OriginalNet
from chest_xray_residual import ResidualNet
from chest_xray_training import loop
from chest_xray_training.dataset import CHILDREN, Film
from chest_xray_training.robust import RobustRecipe
from chest_xray_training.sources import original_mixture

FOLDS = 5
_PUBLISHED = RobustRecipe(steps=4500, use_contradicted=True)
"""How the networks of version 3.0's experiments are trained: with the labels as published, and for
a shorter time than the served one, since there are nine."""
_SHORT = RobustRecipe(steps=1500)
"""How those of version 4.0's are: one small network with the labels alone, without teachers, whose
training for every experiment would take days."""
_EPOCH = loop.Recipe(epochs=1, patience=1)
_CONVERGED = loop.Recipe(epochs=200, patience=20)
LEFT_OUT = (("nih-chestxray8", "covid-cxnet"), ("ieee8023", "nitrd-da"))
"""Sources that are left out together for version 3.0, so that each is left out once and what
remains has every label."""
_SHARES = (25, 50, 100)
"""The percentages of the training films of which the learning curve over films is made."""


@dataclass(frozen=True)
class Experiment:
    """One network to train and where it is measured."""

    name: str
    recipe: RobustRecipe | loop.Recipe
    """How a small residual network, or the original one, is trained."""
    train: list[Film]
    held: list[Film]
    valid: list[Film] | None = None
    """The films that decide when training ends; needed where the recipe lets films decide."""
    lungs_masked: bool = False
    """Whether the lungs of all films are covered: what is still right then was not learnt from
    lungs."""
    best_on_held: bool = False
    """Whether to keep the weights that do best on the held films, as published work did, which is
    optimistic."""

    def network(self, outputs: int) -> StagedNet:
        """The network that is trained, without its weights."""
        residual = isinstance(self.recipe, RobustRecipe)
        return ResidualNet(outputs) if residual else OriginalNet(outputs)


def experiments(version: str, films: Sequence[Film]) -> list[Experiment]:
    """All experiments of a version that the data set allows; none if there are none."""
    return list(_OF_VERSION[version](films)) if version in _OF_VERSION else []


def _of_original(films: Sequence[Film]) -> Iterator[Experiment]:
    """``original-...``: the original network by the original recipe on the original project's own
    mixture of films, for one epoch as it reports, and until the validation loss falls no more."""
    train, valid, test = (
        original_mixture([film for film in films if film.split == split])
        for split in ("train", "valid", "test")
    )
    if train and valid and test:
        yield Experiment("original-one-epoch", _EPOCH, train, test, valid)
        yield Experiment("original-converged", _CONVERGED, train, test, valid)


def _of_members(films: Sequence[Film]) -> Iterator[Experiment]:
    """Without the collection of children, which version 3.0 has not seen:

    - ``fold-K``: the five folds of the published DarkCovidNet set, no patient in two folds; films
      of other sources join the training.
    - ``published``: the same films, one random split of four fifths and a fifth, the weights that
      do best on the held films: how the published set was measured in its authors' notebook.
    - ``without-...``: leave some sources out and measure there.
    - ``lungs-masked``: the fixed split with the lungs covered.
    """
    films = [film for film in films if film.source != CHILDREN]
    published = [film for film in films if film.fold is not None]
    for fold in range(FOLDS if published else 0):
        held = [film for film in published if film.fold == fold]
        yield Experiment(f"fold-{fold}", _PUBLISHED, _apart(films, held), held)
    if published:
        shuffled = random.Random(0).sample(published, len(published))
        held, kept = shuffled[: len(shuffled) // FOLDS], shuffled[len(shuffled) // FOLDS :]
        yield Experiment("published", _PUBLISHED, kept, held, best_on_held=True)
    for sources in LEFT_OUT:
        yield from _without(films, sources, _PUBLISHED)
    kept, held = ([film for film in films if film.split == split] for split in ("train", "test"))
    if kept and held:
        yield Experiment("lungs-masked", _PUBLISHED, kept, held, lungs_masked=True)


def _of_students(films: Sequence[Film]) -> Iterator[Experiment]:
    """``without-SOURCE`` for every source, and ``films-P``: trained on P percent of the patients
    of the training split, measured on the test split."""
    for source in sorted({film.source for film in films}):
        yield from _without(films, (source,), _SHORT)
    train, test = ([film for film in films if film.split == split] for split in ("train", "test"))
    units = sorted({film.unit for film in train})
    random.Random(0).shuffle(units)
    for percent in _SHARES if test else ():
        chosen = set(units[: len(units) * percent // 100])
        kept = [film for film in train if film.unit in chosen]
        if {film.label for film in kept} == {film.label for film in films}:
            yield Experiment(f"films-{percent}", _SHORT, kept, test)


def _without(
    films: Sequence[Film], sources: Sequence[str], recipe: RobustRecipe
) -> Iterator[Experiment]:
    """Leave some sources out, if what remains has every label, and measure there."""
    held = [film for film in films if film.source in sources]
    kept = [film for film in _apart(films, held) if film.split != "test"]
    if held and {film.label for film in kept} == {film.label for film in films}:
        yield Experiment("without-" + "-".join(sources), recipe, kept, held)


_OF_VERSION = {"1.0": _of_original, "3.0": _of_members, "4.0": _of_students}


def _apart(films: Sequence[Film], held: Sequence[Film]) -> list[Film]:
    """The films of patients or groups that are not among the held ones."""
    units = {film.unit for film in held}
    return [film for film in films if film.unit not in units]
