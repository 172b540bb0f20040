"""Films of children are recognised, and read by a classifier of their own."""

import pytest
import torch
from torch import nn

from chest_xray_patients import Children
from chest_xray_training.calibration import fit_calibration
from chest_xray_training.patients import fit_child_calibration, fit_head, fit_recognition

WIDTH = 6


def part(offset=0.0):
    """Finds a child in every film, or in none, by ``offset``."""
    torch.manual_seed(0)
    found = Children(WIDTH, 3)
    nn.init.zeros_(found.recognition.weight)
    nn.init.constant_(found.recognition.bias, offset)
    found.temperature.fill_(2)
    found.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    return found.eval()


@pytest.mark.parametrize(("offset", "share"), [(50.0, 1.0), (-50.0, 0.0), (0.0, 0.5)])
def test_probabilities_are_weighed_by_what_the_film_looks_like(offset, share):
    children = part(offset)
    adults, maps = torch.randn(4, 3), torch.randn(4, WIDTH, 2, 2)
    with torch.inference_mode():
        found = children(adults, maps).softmax(1)
        logits = children.head(maps.mean((2, 3)))
    expected = (logits / 2 + torch.tensor([1.0, -1.0, 0.0])).softmax(1)
    assert torch.allclose(found, share * expected + (1 - share) * adults.softmax(1), atol=1e-6)


def films():
    """Features by which children, and among them pneumonia, can be told, and labels."""
    torch.manual_seed(1)
    features = 3 + torch.randn(600, WIDTH) * torch.tensor([1.0, 2.0, 0.1, 5.0, 1.0, 1.0])
    children = torch.arange(600) % 3 == 0
    features[children, 1] += 9
    targets = torch.randint(0, 3, (600,))
    targets[children] = targets[children].clamp_max(1)
    features[children & (targets == 1), 3] += 20
    return features, targets, children


def test_children_are_recognised():
    features, _, children = films()
    found = part()
    fit_recognition(found, features, children)
    with torch.inference_mode():
        assert ((found.recognition(features)[:, 0] > 0) == children).float().mean() > 0.97


def test_their_labels_are_told_apart_in_their_own_way():
    features, targets, children = films()
    found, adults = part(), nn.Linear(WIDTH, 3)
    fit_head(found, features, targets, children, adults)
    with torch.inference_mode():
        own, theirs = found.head(features), adults(features)
    right = own[children, :2].argmax(1) == targets[children]
    assert right.float().mean() > 0.95
    assert torch.allclose(own[:, 2], theirs[:, 2], atol=1e-4)
    assert torch.allclose(own[:, :2].mean(1), theirs[:, :2].mean(1), atol=1e-4)


def test_their_calibration_is_of_their_labels_alone():
    features, targets, children = films()
    found = part()
    fit_child_calibration(found, features, targets, children)
    with torch.inference_mode():
        logits = found.head(features[children])[:, :2]
    temperature, bias = fit_calibration(logits, targets[children])
    assert float(found.temperature) == pytest.approx(temperature)
    assert found.bias.tolist() == pytest.approx([*bias, 0.0])
