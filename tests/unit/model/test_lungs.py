"""Which share of a heat map lies on lungs that people have outlined."""

import json
from pathlib import Path

import pytest
import torch

from chest_xray_training import lungs
from chest_xray_training.dataset import Film


class Films:
    """Two films, of which one has outlines: the left half, and a corner of the right one."""

    def __init__(self):
        self.films = [Film(Path("none"), name, "normal", "test", "") for name in ("a.png", "b.png")]

    def __getitem__(self, index):
        return torch.zeros(1, 224, 224), 0


@pytest.fixture
def outlines(tmp_path):
    path = tmp_path / lungs.OUTLINES
    left = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    corner = [[0.5, 0], [0.75, 0], [0.75, 0.5], [0.5, 0.5]]
    path.write_text(json.dumps({"b.png": [left, corner], "c.png": [left]}))
    return path


def test_mass(outlines, monkeypatch):
    heat = torch.zeros(1, 8, 8)
    heat[0, 4:, 0] = 0.15  # inside the outlines
    heat[0, 6:, 5] = 0.1  # inside the box alone
    heat[0, :, 7] = 0.025  # outside
    monkeypatch.setattr(lungs, "heatmaps", lambda network, images: heat)
    found = lungs.mass_on_lungs(torch.nn.Linear(1, 1), Films(), outlines)
    assert found["films"] == 1
    assert found["area_of_box_of_the_lungs"] == pytest.approx(0.75, abs=0.01)
    assert found["area_of_outlines_of_the_lungs"] == pytest.approx(0.625, abs=0.01)
    assert found["mass_in_box_of_the_lungs"] == pytest.approx(0.8, abs=0.03)
    assert found["mass_in_outlines_of_the_lungs"] == pytest.approx(0.6, abs=0.03)


def test_without_outlines(outlines, tmp_path):
    network = torch.nn.Linear(1, 1)
    assert lungs.mass_on_lungs(network, Films(), tmp_path / "none.json") is None
    outlines.write_text("{}")
    assert lungs.mass_on_lungs(network, Films(), outlines) is None
