from pathlib import Path

import torch

from chest_xray.labels import LABELS
from chest_xray_net import ChestXrayNet

WEIGHTS = Path(__file__).parent.parent / "model" / "weights" / "1.0.pt"


def test_it_is_the_original_network():
    model = ChestXrayNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_231_251
    assert model(torch.zeros(2, 3, 224, 224)).shape == (2, len(LABELS))


def test_committed_weights_are_a_plain_state_dict():
    weights = torch.load(WEIGHTS, weights_only=True)
    ChestXrayNet().load_state_dict(weights)
    assert weights["fc2.weight"].shape[0] == len(LABELS)
