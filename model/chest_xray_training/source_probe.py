"""How well the source of a film can be told from what a network sees in it."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from chest_xray.network.stages import ServedNet
from chest_xray.transform import SIZE
from chest_xray_training.dataset import FilmDataset
from chest_xray_training.gating import describe
from chest_xray_training.metrics import share


def name_the_source(
    network: ServedNet, train_films: FilmDataset, test_films: FilmDataset
) -> dict[str, Any] | None:
    """Fit a logistic regression of the source on what the network's gate looks at in the films of
    one split, and ask it about the films of another.

    Args:
        network: for inference, on the CPU.

    Returns:
        How often the source is named correctly; None if the data set does not have two sources.
    """
    sources = [film.source for film in train_films.films]
    if len(set(sources)) < 2:
        return None
    cpu = torch.device("cpu")
    points, asked = (
        describe(network, films.images(SIZE), cpu) for films in (train_films, test_films)
    )
    centre, scale = points.mean(0), points.std(0) + 1e-3
    probe = LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced")
    probe.fit(((points - centre) / scale).numpy(), sources)
    truths = np.array([film.source for film in test_films.films])
    most_frequent = max(float((truths == source).mean()) for source in set(truths))
    return {
        "sources": sorted(set(sources)),
        "share_of_the_most_frequent": round(most_frequent, 4),
        **share(probe.predict(((asked - centre) / scale).numpy()) == truths, "accuracy"),
    }
