"""Heat maps are faithful: what they call hot is what the prediction rests on."""

import pytest
import torch

from chest_xray.transform import to_tensor
from chest_xray_training.faithfulness import loss_by_deleting
from chest_xray_versions import load_network, weights_path
from support.films import draw_film

VERSIONS = ("1.0", "2.0", "3.0", "4.0")

FILMS = torch.stack([to_tensor(draw_film(seed)) for seed in range(24)])


@pytest.fixture(params=VERSIONS)
def network(request):
    return load_network(request.param, weights_path(request.param))


def test_deleting_what_is_hot_costs_more_than_deleting_anything(network):
    losses = [loss_by_deleting(network, FILMS, seed) for seed in range(5)]
    hottest, random = (torch.stack(each).mean(0) for each in zip(*losses, strict=True))
    assert hottest.mean() > random.mean()
