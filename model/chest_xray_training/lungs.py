"""Whether heat maps look at lungs, by outlines that people have drawn."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from chest_xray.network.explanation import heatmaps
from chest_xray.network.stages import StagedNet
from chest_xray.transform import SIZE, to_tensor
from chest_xray_training.dataset import FilmDataset

OUTLINES = "lungs.json"
"""A file of a data set: per film a list of polygons, each a list of [x, y] in shares of the film's
width and height."""
_BATCH = 32


def mass_on_lungs(
    network: StagedNet, films: FilmDataset, outlines: Path
) -> dict[str, float | int] | None:
    """Which share of a heat map's mass lies inside the box around the lungs and inside their
    outlines, on average over the films whose lungs were outlined; and what share a heat map has
    that is the same everywhere. None if there are none.

    Args:
        network: in any precision; films are given to it in the same.
        outlines: a file as ``OUTLINES``.
    """
    if not outlines.is_file():
        return None
    drawn = json.loads(outlines.read_text(encoding="utf-8"))
    chosen = [index for index, film in enumerate(films.films) if film.name in drawn]
    if not chosen:
        return None
    precision = next(network.parameters()).dtype
    images = torch.stack([films[index][0] for index in chosen]).to(precision)
    heats = torch.cat([heatmaps(network, part) for part in torch.split(images, _BATCH)])
    fine = torch.nn.functional.interpolate(
        heats[:, None], size=(SIZE, SIZE), mode="bilinear", align_corners=False
    )[:, 0]
    told = fine.sum((1, 2)) > 0  # else no place speaks for the answer, and there is nothing to see
    fine = fine[told] / fine[told].sum((1, 2), keepdim=True)
    polygons = [drawn[films.films[index].name] for index in chosen]
    found: dict[str, float | int] = {"films": int(told.sum())}
    for name, areas in (
        ("box_of_the_lungs", torch.stack([_box(each) for each in polygons])[told]),
        ("outlines_of_the_lungs", torch.stack([_filled(each) for each in polygons])[told]),
    ):
        found[f"mass_in_{name}"] = round(float((fine * areas).sum((1, 2)).mean()), 4)
        found[f"area_of_{name}"] = round(float(areas.mean()), 4)
    return found


Polygons = Sequence[Sequence[Sequence[float]]]


def _box(polygons: Polygons) -> Tensor:
    """float32 (224, 224): 1 inside the smallest box around all polygons, else 0."""
    points = np.array([point for polygon in polygons for point in polygon])
    low = (points.min(0).clip(0, 1) * SIZE).round().astype(int)
    high = (points.max(0).clip(0, 1) * SIZE).round().astype(int)
    box = torch.zeros(SIZE, SIZE)
    box[low[1] : high[1], low[0] : high[0]] = 1
    return box


def _filled(polygons: Polygons) -> Tensor:
    """float32 (224, 224): 1 inside the polygons, else 0."""
    image = Image.new("L", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        draw.polygon([(x * SIZE, y * SIZE) for x, y in polygon], fill=255)
    return to_tensor(np.asarray(image))[0].round()
