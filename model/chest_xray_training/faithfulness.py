"""Whether heat maps show what an answer rests on: the hot places are deleted, and the network is
asked again."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from chest_xray.network.explanation import heatmaps
from chest_xray.network.stages import ServedNet
from chest_xray_training.dataset import FilmDataset

DELETED = 0.1
"""The share of the image's area that is deleted."""
_BATCH = 8  # films, which takes least time for each


def loss_by_deleting(network: ServedNet, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """How much of the answer's probability is lost with the hottest tenth of the image, and with a
    random tenth that is cut into pieces of the same size.

    What is deleted becomes the image's mean grey.

    Args:
        images: float (N, 1, 224, 224) in [0, 1], in the network's precision.

    Returns:
        Two float (N,), in [-1, 1].
    """
    heats = heatmaps(network.network, images)
    chance = torch.rand(heats.shape, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        before, answers = _probabilities(network, images).max(1)
        losses = []
        for ranking in (heats, chance):
            without = torch.where(_top(ranking, images), images.mean((2, 3), keepdim=True), images)
            after = _probabilities(network, without).gather(1, answers[:, None])[:, 0]
            losses.append(before - after)
    return losses[0], losses[1]


def faithfulness(
    network: ServedNet,
    films: FilmDataset,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, float]:
    """Means over all films, and the share of films that lose more with the hottest tenth.

    Args:
        network: for inference, in any precision.
        progress: is called with the number of films that are done, and of all.
    """
    precision = network.temperature.dtype
    pairs: list[tuple[Tensor, Tensor]] = []
    for number, (images, _) in enumerate(DataLoader(films, _BATCH)):
        pairs.append(loss_by_deleting(network, images.to(precision), seed=number))
        progress(number * _BATCH + len(images), len(films))
    hottest, random = (torch.cat(losses) for losses in zip(*pairs, strict=True))
    return {
        "probability_lost_with_hottest_tenth": round(float(hottest.mean()), 4),
        "probability_lost_with_random_tenth": round(float(random.mean()), 4),
        "films_that_lose_more_with_hottest": round(float((hottest > random).double().mean()), 4),
    }


def _probabilities(network: ServedNet, images: Tensor) -> Tensor:
    """As the version answers, (N, labels), without asking its gate."""
    return torch.softmax(network.network(images) / network.temperature + network.bias, dim=1)


def _top(ranking: Tensor, images: Tensor) -> Tensor:
    """bool (N, 1, H, W): the tenth of each image that ranks highest."""
    height, width = images.shape[-2:]
    fine = nn.functional.interpolate(ranking[:, None], size=(height, width), mode="bilinear")
    places = fine.flatten(1).topk(int(DELETED * height * width)).indices
    mask = torch.zeros(len(images), height * width, dtype=torch.bool).scatter_(1, places, True)
    return mask.view(-1, 1, height, width)
