"""Drawn images, and gates fitted to tell films from them."""

import numpy as np
import pytest
import torch

from chest_xray.network.gate import Gate
from chest_xray.transform import SIZE
from chest_xray_training.drawn import no_films
from chest_xray_versions import load_network, weights_path
from support.films import draw_film

FILMS = [draw_film(seed, SIZE, SIZE) for seed in range(4)]


def test_drawn_images_are_pictures_of_many_kinds():
    images = list(no_films(FILMS, 80, seed=3))
    assert all(image.shape == (SIZE, SIZE) and image.dtype == np.uint8 for image in images)
    again = list(no_films(FILMS, 80, seed=3))
    assert all(np.array_equal(one, two) for one, two in zip(images, again, strict=True))
    assert len({image.tobytes() for image in images}) > 75
    assert not any(np.array_equal(image, film) for image in images for film in FILMS)


def test_what_a_gate_looks_at():
    images, maps = torch.rand(3, 1, 28, 28), [torch.rand(3, 4, 4, 4), torch.rand(3, 5, 2, 2)]
    found = Gate((2, 5)).describe(images, maps)  # of the first maps two channels of four
    assert found.shape == (3, 2 * (2 + 5) + 14 * 14)
    assert torch.allclose(found[:, :2], maps[0][:, :2].mean((2, 3)))
    deviation = maps[1].std((2, 3), correction=0)
    assert torch.allclose(found[:, 9:14], deviation, atol=1e-5)
    thumbnail = found[:, 14:]
    assert torch.allclose(thumbnail.mean(1), torch.zeros(3), atol=1e-4)
    brighter = Gate((2, 5)).describe(images * 0.5 + 0.2, maps)[:, 14:]
    assert torch.allclose(brighter, thumbnail, atol=0.2)


def test_a_gate_that_was_not_fitted_lets_everything_pass():
    images, maps = torch.rand(10, 1, 28, 28), [torch.rand(10, 4, 4, 4)]
    assert (Gate((4,))(images, maps) > 0).all()


STRANGE = {
    "black": np.zeros((SIZE, SIZE)),
    "white": np.full((SIZE, SIZE), 255),
    "noise": np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)),
    "ramp": np.tile(np.linspace(0, 255, SIZE), (SIZE, 1)),
    "stripes": np.tile(np.arange(SIZE) // 8 % 2 * 255, (SIZE, 1)),
}


@pytest.mark.parametrize("version", ["1.0", "2.0", "3.0", "4.0"])
def test_committed_gates_refuse_what_is_no_film(version):
    network = load_network(version, weights_path(version))
    images = np.stack([*STRANGE.values(), *no_films(FILMS, 40, seed=11)])
    scaled = torch.from_numpy(images.astype(np.float32))[:, None] / 255
    with torch.inference_mode():
        scores = network(scaled)[:, 3]
    assert (scores[: len(STRANGE)] < 0).all()
    assert (scores < 0).float().mean() > 0.9
