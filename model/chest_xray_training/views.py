"""Films -> a store of augmented views, which teacher and students both learn from.

A teacher's answer to a view is dear, and a student is best taught by its teacher's answer to the
very view that it sees (Beyer et al. 2022). So the views are drawn once and kept, and every network
goes through the same ones several times.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from chest_xray_training import augmentation, loop
from chest_xray_training.dataset import CHILDREN, Film, FilmDataset

_NOTE = "recipe.json"
_CHUNK = 1000  # views in a file
_BATCH = 32  # views that are augmented together
_MARGIN = 8 / 7  # side of the films that the augmentation cuts from, to the side that it gives
_MOST_OFTEN = 6.0  # times the average, that a film of a rare kind is drawn at most


@dataclass(frozen=True)
class ViewsRecipe:
    """Which views are drawn."""

    count: int = 32_000
    side: int = 224
    """In pixels."""
    children: float = 0.35
    """Share of children's films among those of every label that children have."""
    source_power: float = 0.4
    """Within a label, adults' sources are drawn in proportion to their films' number to this
    power: a large hospital must not be a label's look."""
    seed: int = 0


@dataclass(frozen=True)
class Views:
    """What was drawn."""

    images: Tensor
    """uint8 (N, 1, side, side)."""

    films: Tensor
    """int64 (N,): the film that each is of, an index into the data set."""

    def first(self, count: int) -> "Views":
        """Those that were drawn first; all are in random order."""
        return Views(self.images[:count], self.films[:count])


def draw(
    dataset: FilmDataset,
    recipe: ViewsRecipe,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> Views:
    """The views, from the files of an earlier run in ``out`` as far as it came.

    Raises:
        ValueError: ``out`` holds the views of another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = json.dumps(asdict(recipe))
    if not (out / _NOTE).exists():
        (out / _NOTE).write_text(note, encoding="utf-8")
    elif (out / _NOTE).read_text(encoding="utf-8") != note:
        raise ValueError(f"{out} holds the views of another recipe")
    odds = sampling_odds(dataset.films, recipe)
    pool: Tensor | None = None
    chunks = []
    for first in range(0, recipe.count, _CHUNK):
        path = out / f"views-{first // _CHUNK:03}.pt"
        if not path.exists():
            if pool is None:
                pool = dataset.images(round(recipe.side * _MARGIN))
            torch.manual_seed(recipe.seed * 100_003 + first)
            chosen = torch.multinomial(odds, min(_CHUNK, recipe.count - first), replacement=True)
            images = [
                (augmentation.augment(pool[part].float() / 255, recipe.side) * 255).round()
                for part in torch.split(chosen, _BATCH)
            ]
            content = {"images": torch.cat(images).to(torch.uint8), "films": chosen}
            loop.save(path, content)
        chunks.append(torch.load(path, weights_only=True))
        progress(min(first + _CHUNK, recipe.count), recipe.count)
    return Views(*(torch.cat([chunk[name] for chunk in chunks]) for name in ("images", "films")))


def sampling_odds(films: Sequence[Film], recipe: ViewsRecipe) -> Tensor:
    """How often to draw each film, float64 (N,), sum 1.

    Every label is drawn equally often, and so is every label that children have among children:
    that a film is a child's, or of a hospital, shall say as little as possible about its label.
    Films whose label radiologists contradict are never drawn.
    """
    used = [film for film in films if not film.contradicted]
    counts = Counter((film.label, film.source) for film in used)
    weights = {
        (label, source): count**recipe.source_power
        for (label, source), count in counts.items()
        if source != CHILDREN
    }
    adults = {
        label: sum(weight for (each, _), weight in weights.items() if each == label)
        for label in {film.label for film in films}
    }

    def odds_of(film: Film) -> float:
        kind = (film.label, film.source)
        if film.contradicted:
            return 0.0
        has_children = counts[film.label, CHILDREN] > 0
        if film.source == CHILDREN:
            share = recipe.children if adults[film.label] else 1.0
        else:
            share = weights[kind] / adults[film.label] * (1 - recipe.children * has_children)
        return share / counts[kind]

    odds = torch.tensor([odds_of(film) for film in films], dtype=torch.float64)
    odds = (odds / odds.sum()).clamp_max(_MOST_OFTEN / len(films))
    return odds / odds.sum()
