"""A version with a fourth label, defined, trained and packed outside the repository."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image

from chest_xray_ops import archive
from chest_xray_training import loop
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.gating import GateRecipe
from chest_xray_training.recipes import RECIPES, Run, train_version
from support.films import LABELS, draw_film

VERSION = "9.0"
FOUR_LABELS = (*LABELS, "tuberculosis")
_CLASS = '''
"""A version of one more label."""

from chest_xray.network.stages import ServedNet
from chest_xray_tiny import TinyNet


class ChestXrayV9(ServedNet):
    title = "a tiny network with four labels"
    labels = ("normal", "pneumonia", "covid-19", "tuberculosis")
    recipe = "single"

    def __init__(self):
        super().__init__(TinyNet(len(self.labels)))
'''
_NETWORK = '''
"""Its network."""

import torch
from torch import nn

from chest_xray.network.stages import StagedNet


class TinyNet(StagedNet):
    def __init__(self, outputs):
        super().__init__(widths=(4, 8))
        self.first = nn.Conv2d(1, 4, kernel_size=8, stride=8)
        self.second = nn.Conv2d(4, 8, kernel_size=3, stride=2)
        self.head = nn.Linear(8, outputs)

    def stage(self, index, maps):
        return torch.relu((self.first, self.second)[index](maps))

    def scores(self, maps):
        return self.head(maps.to(self.head.weight.dtype).mean((2, 3)))
'''


@contextmanager
def on_the_path(folder: Path) -> Iterator[None]:
    """The version's modules can be imported from ``folder``, where they are written to."""
    (folder / "chest_xray_v9.py").write_text(_CLASS)
    (folder / "chest_xray_tiny.py").write_text(_NETWORK)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in ("chest_xray_v9", "chest_xray_tiny"):
            sys.modules.pop(name, None)


def train(folder: Path) -> Path:
    """Its weights, after a few steps on drawn films."""
    data = folder / "films"
    for split, count in (("train", 6), ("valid", 3)):
        for number, label in enumerate(FOUR_LABELS):
            (data / split / label).mkdir(parents=True)
            for index in range(count):
                film = draw_film(100 * number + index + len(split))
                Image.fromarray(film).save(data / split / label / f"{index}.png")
    train_films, valid_films = (
        FilmDataset(read_films(data, FOUR_LABELS, split), FOUR_LABELS)
        for split in ("train", "valid")
    )
    recipe = loop.Recipe(epochs=2, patience=2, batch_size=4)
    out, cpu = folder / "trained", torch.device("cpu")
    run = Run(recipe, train_films, valid_films, out, cpu, lambda what, step, steps: None)
    quick = replace(RECIPES["single"], gate=GateRecipe(drawn=150))  # which takes less time
    with patch.dict(RECIPES, single=quick):
        train_version(VERSION, run)
    return out / loop.WEIGHTS


def build(folder: Path) -> Path:
    """Its archive, from nothing."""
    with on_the_path(folder):
        return archive.build(VERSION, train(folder), folder / "store")
