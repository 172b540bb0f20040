"""How a film lies is undone before it is read, and heat maps lie as it was sent."""

import pytest
import torch

from chest_xray_orientation import ORIENTATIONS, Orientation, turned_again, turned_upright
from chest_xray_training.orienting import turned
from chest_xray_v4 import ChestXrayV4


def seen(*names, strength=20.0):
    """Logits of films that lie like this, beyond doubt unless ``strength`` is small."""
    logits = torch.zeros(len(names), len(ORIENTATIONS))
    for row, name in zip(logits, names, strict=True):
        row[ORIENTATIONS.index(name)] = strength
    return logits


@pytest.fixture
def films():
    torch.manual_seed(0)
    return torch.rand(len(ORIENTATIONS), 1, 224, 224)


def test_what_is_undone(films):
    sent = turned(films, torch.arange(len(ORIENTATIONS)))
    found = turned_upright(sent, seen(*ORIENTATIONS))
    for index, name in enumerate(ORIENTATIONS):
        # A mirrored film may be one of a heart on the right.
        expected = films[index].flip(2) if name == "mirrored" else films[index]
        assert torch.allclose(found[index], expected, atol=1e-6), name


def test_what_is_doubtful_stays(films):
    assert torch.equal(turned_upright(films, seen(*ORIENTATIONS, strength=1.0)), films)


def test_heat_maps_lie_as_the_film_was_sent(films):
    heats = films[:, 0, :7, :7]
    found = turned_again(heats, seen(*ORIENTATIONS))
    for index, name in enumerate(ORIENTATIONS):
        quarters = int(name.removeprefix("rotated_")) // 90 if "rotated" in name else 0
        assert torch.equal(found[index], heats[index].rot90(quarters, (0, 1))), name


def test_a_network_that_was_not_trained_finds_all_films_upright(films):
    with torch.inference_mode():
        logits = Orientation().eval()(films)
    assert logits.shape == (len(films), len(ORIENTATIONS))
    assert (logits.softmax(1)[:, 0] > 0.9).all()


def test_a_version_reads_films_as_they_should_lie(films, monkeypatch):
    network = ChestXrayV4().eval()
    monkeypatch.setattr(network.orientation, "forward", lambda images: seen(*ORIENTATIONS))
    with torch.inference_mode():
        readings = network(turned(films, torch.arange(len(ORIENTATIONS))))
        monkeypatch.undo()
        expected = network(films)
    assert torch.equal(readings[:, 4:], seen(*ORIENTATIONS))
    same = torch.isclose(readings[:, :4], expected[:, :4], atol=1e-4).all(1)
    assert same.tolist() == [name != "mirrored" for name in ORIENTATIONS]
