import pytest
import torch

from chest_xray_training.calibration import fit_calibration


def test_it_finds_what_made_the_logits_dishonest():
    torch.manual_seed(0)
    honest = torch.randn(20_000, 3) * 1.5
    targets = torch.distributions.Categorical(logits=honest).sample()
    temperature, bias = fit_calibration(3 * (honest - torch.tensor([0.0, 1.0, 0.0])), targets)
    assert temperature == pytest.approx(3, rel=0.05)
    assert bias == pytest.approx([-1 / 3, 2 / 3, -1 / 3], abs=0.06)


def test_honest_logits_stay():
    torch.manual_seed(1)
    honest = torch.randn(20_000, 3)
    targets = torch.distributions.Categorical(logits=honest).sample()
    temperature, bias = fit_calibration(honest, targets)
    assert temperature == pytest.approx(1, abs=0.05)
    assert bias == pytest.approx([0, 0, 0], abs=0.06)
