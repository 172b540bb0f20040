"""Heat maps of the committed networks on drawn films."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from chest_xray.network.explanation import heatmaps, overlay
from chest_xray.transform import to_tensor
from chest_xray_versions import load_network, weights_path
from support.films import draw_film

VERSIONS = ("1.0", "2.0", "3.0", "4.0")

FILMS = torch.stack([to_tensor(draw_film(seed)) for seed in range(24)])


@pytest.fixture(params=VERSIONS)
def network(request):
    return load_network(request.param, weights_path(request.param))


def test_what_a_heat_map_is(network):
    heats = heatmaps(network.network, FILMS[:6])
    assert heats.shape[0] == 6
    assert heats.ndim == 3
    assert (heats >= 0).all()
    assert torch.allclose(heats.sum((1, 2)), torch.ones(6), atol=1e-4)
    assert len({tuple(heat.flatten().tolist()) for heat in heats}) == 6
    assert torch.allclose(heatmaps(network.network, FILMS[3:4])[0], heats[3], atol=1e-4)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_hot_place_is_where_the_evidence_is():
    """A network that looks at brightness alone, and one bright place."""

    class Bright(torch.nn.Module):
        widths, explained = (1,), -1

        def stages(self, images, first=0, end=None):
            return [torch.nn.functional.avg_pool2d(images, 32)][first:end] if first == 0 else []

        def scores(self, maps):
            return torch.stack([maps.sum((1, 2, 3)), *[torch.zeros(len(maps))] * 2], dim=1)

    film = torch.zeros(1, 1, 224, 224)
    film[0, 0, 64:96, 128:160] = 1
    [heat] = heatmaps(Bright(), film)
    assert heat[2, 4] == 1
    assert heat.sum() == 1


def test_overlay_is_a_picture_that_is_red_where_it_is_hot():
    heat = torch.zeros(7, 7)
    heat[1, 5] = 1
    film = torch.full((224, 224), 0.5)
    picture = np.asarray(Image.open(io.BytesIO(overlay(film, heat))), dtype=float)
    assert picture.shape == (224, 224, 3)
    red, _, blue = picture[48, 176]
    assert red > blue + 100
    assert np.ptp(picture[200, 20]) < 40  # a cold place stays nearly grey


def test_no_evidence_at_all():
    picture = Image.open(io.BytesIO(overlay(torch.zeros(224, 224), torch.zeros(7, 7))))
    assert picture.size == (224, 224)
