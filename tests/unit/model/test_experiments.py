"""What experiments are trained on, and what is kept of them."""

from pathlib import Path

import numpy as np
import pytest

from chest_xray_training import protocols
from chest_xray_training.dataset import CHILDREN, Film
from chest_xray_training.experiments import experiments
from support.films import LABELS

SOURCES = ("a", "b", CHILDREN)


def films():
    made = []
    for number in range(360):
        source = SOURCES[number // 3 % 3]
        label = LABELS[number % 3] if source != CHILDREN else LABELS[number % 2]
        split = ("train", "valid", "test")[number // 9 % 3]
        made.append(
            Film(Path("none"), str(number), label, split, "", f"p{number // 2}", source=source)
        )
    return made


def test_the_original_recipe_gets_the_original_mixture():
    one_epoch, converged = experiments("1.0", films())
    assert one_epoch.recipe.epochs == 1
    assert converged.recipe.epochs > 1
    for each in (one_epoch, converged):
        for split, chosen in (("train", each.train), ("valid", each.valid), ("test", each.held)):
            assert {film.split for film in chosen} == {split}
            kinds = {(film.source == CHILDREN, film.label) for film in chosen}
            assert kinds == {(True, "normal"), (True, "pneumonia"), (False, "covid-19")}


def test_every_source_is_left_out_once_and_films_are_fewer():
    found = {each.name: each for each in experiments("4.0", films())}
    assert set(found) == {
        *(f"without-{source}" for source in SOURCES), "films-25", "films-50", "films-100",
    }  # fmt: skip
    for source in SOURCES:
        each = found[f"without-{source}"]
        assert {film.source for film in each.held} == {source}
        assert source not in {film.source for film in each.train}
        assert not {film.unit for film in each.held} & {film.unit for film in each.train}
    sizes = [len(found[f"films-{percent}"].train) for percent in (25, 50, 100)]
    assert sizes == sorted(set(sizes))
    assert {film.split for film in found["films-100"].held} == {"test"}


def test_a_version_without_experiments():
    assert experiments("2.0", films()) == []


def test_answers_are_kept_as_they_are(tmp_path):
    held = films()[:5]
    answers = np.random.default_rng(0).dirichlet([1, 1, 1], 5)
    path = tmp_path / "experiments" / "some.csv"
    protocols.write_answers(path, held, answers, LABELS)
    assert np.allclose(protocols.read_answers(path, held, LABELS), answers, atol=1e-9)
    for others, labels in ((held[1:], LABELS), (held, LABELS[::-1])):
        with pytest.raises(ValueError, match="answers to other films"):
            protocols.read_answers(path, others, labels)


def test_experiments_with_other_films_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "read_films", lambda data, labels: films())
    found = {each.name: each for each in experiments("4.0", films())}
    folder = tmp_path / "experiments"
    for name, held in (("films-50", found["films-50"].held), ("films-25", films()[:3])):
        answers = np.full((len(held), 3), 1 / 3)
        protocols.write_answers(folder / f"{name}.csv", held, answers, LABELS)
    assert list(protocols.measure("4.0", tmp_path, LABELS, folder)) == ["films-50"]
    assert protocols.measure("2.0", tmp_path, LABELS, folder) == {}
