"""Version 3.0's training on a few drawn films; augmentation; experiments."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from chest_xray.transform import SIZE
from chest_xray_residual import ResidualNet
from chest_xray_training import augmentation, robust
from chest_xray_training.dataset import Film, FilmDataset
from chest_xray_training.experiments import experiments
from chest_xray_training.loop import CHECKPOINT, HISTORY, WEIGHTS
from chest_xray_training.robust import RobustRecipe, sampling_odds
from support.films import LABELS, draw_film

RECIPE = RobustRecipe(steps=4, batch_size=4)
CPU = torch.device("cpu")


def film(label, source="a", split="train", unit="", fold=None, path=None):
    name = f"{label} {source} {unit or id(object())}"
    return Film(path, name, label, split, "", unit, source, fold=fold)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    made = []
    for index in range(6):
        path = folder / f"{index}.png"
        Image.fromarray(draw_film(index)).save(path)
        made.append(film(LABELS[index % 3], "ab"[index % 2], unit=str(index), path=path))
    return FilmDataset(made, LABELS)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(robust, "_CHUNK", 2)


def run(films, out, recipe=RECIPE, progress=lambda step, steps: None, **options):
    network = ResidualNet(len(LABELS))
    history = robust.train(network, recipe, films, films, out, CPU, progress, **options)
    return history, torch.load(out / WEIGHTS, weights_only=True)


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_seeded(films, tmp_path):
    first, one = run(films, tmp_path / "one")
    again, two = run(films, tmp_path / "two")
    assert first == again
    assert same(one, two)
    assert [row["step"] for row in first] == [2, 4]
    _, other = run(films, tmp_path / "other", replace(RECIPE, seed=1))
    assert not same(one, other)


def test_a_run_that_was_cut_ends_the_same(films, tmp_path):
    whole, weights = run(films, tmp_path / "whole")

    def cut(step, steps):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(films, tmp_path / "cut", progress=cut)
    assert len(json.loads((tmp_path / "cut" / HISTORY).read_text())) == 1
    resumed, resumed_weights = run(films, tmp_path / "cut")
    assert resumed == whole
    assert same(weights, resumed_weights)
    with pytest.raises(ValueError, match=CHECKPOINT):
        run(films, tmp_path / "cut", replace(RECIPE, mixup=0.5))


def test_contradicted_films_are_not_learnt_from(films, tmp_path, monkeypatch):
    drawn = []
    multinomial = torch.multinomial

    def spy(odds, *arguments, **options):
        drawn.append(odds)
        return multinomial(odds, *arguments, **options)

    monkeypatch.setattr(torch, "multinomial", spy)
    doubtful = replace(films.films[0], contradicted=True)
    mixed = FilmDataset([doubtful, *films.films[1:]], LABELS)
    run(mixed, tmp_path / "without")
    run(mixed, tmp_path / "with", replace(RECIPE, use_contradicted=True))
    assert [bool(odds[0] > 0) for odds in drawn] == [False] * 4 + [True] * 4


def test_the_best_on_held_films_may_be_kept(films, tmp_path):
    history, kept = run(films, tmp_path, keep_best=True)
    network = ResidualNet(len(LABELS))
    network.load_state_dict(kept)
    with torch.inference_mode():
        images = torch.stack([image for image, _ in films])
        right = (network.eval()(images).argmax(1) == films.targets()).float().mean().item()
    assert right == pytest.approx(max(row["valid_accuracy"] for row in history))


def test_labels_are_drawn_equally_often_and_small_sources_more():
    films = [film("normal")] * 80 + [film("normal", "b")] * 20 + [film("pneumonia")] * 100
    films += [film("covid-19", "c")] * 50
    odds = sampling_odds(films, 0.5)
    assert odds.sum() == pytest.approx(1)
    assert odds[:100].sum() == pytest.approx(odds[100:200].sum())
    assert odds[80:100].sum() / odds[:80].sum() == pytest.approx((20 / 80) ** 0.5)


def test_rare_films_are_not_hammered():
    films = [film("normal")] * 1000 + [film("normal", "b")] + [film("pneumonia")] * 500
    films += [film("covid-19")] * 500
    odds = sampling_odds(films, 0.5)
    assert odds.max() < 6.5 / len(films)


def test_augmentation_keeps_films_films():
    torch.manual_seed(0)
    pixels = torch.stack([torch.from_numpy(draw_film(seed, 128, 128)) for seed in range(40)])
    images = pixels[:, None].float() / 255
    changed = augmentation.augment(images.clone(), 112)
    assert changed.shape == (40, 1, 112, 112)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert changed.std((2, 3)).min() > 0.02
    small = torch.nn.functional.interpolate(images, size=(112, 112))
    assert ((changed - small).abs().mean((1, 2, 3)) > 0.005).all()


def test_mixing_blends_everything_alike():
    torch.manual_seed(0)
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    before, blended = torch.arange(4.0)[:, None], 0
    for _ in range(20):
        mixed, targets = augmentation.mix(images, before, 0.5, 0.0)
        assert torch.allclose(mixed[:, 0, 0, 0], targets[:, 0])
        assert ((targets - before).abs() <= 1.5 + 1e-6).all()  # the film itself weighs most
        blended += not torch.equal(targets, before)
    assert blended > 10


def test_pasting_counts_by_area():
    torch.manual_seed(0)
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 40, 40)
    for _ in range(20):
        mixed, targets = augmentation.mix(images, torch.arange(4.0)[:, None], 0.5, 1.0)
        assert torch.allclose(mixed.mean((1, 2, 3)), targets[:, 0], atol=1e-4)
        assert set(mixed.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


SOURCES = ("nih-chestxray8", "covid-cxnet", "ieee8023", "nitrd-da")


def test_experiments_keep_patients_apart():
    films = [
        film(
            LABELS[index % 3],
            SOURCES[index % 4],
            ("train", "valid", "test")[index % 5 % 3],
            unit=f"p{index // 2}",
            fold=index // 2 % 5 if index % 4 in (0, 2) else None,
        )
        for index in range(240)
    ]
    found = {each.name: each for each in experiments("3.0", films)}
    assert len(found) == 5 + 1 + 2 + 1
    for name, each in found.items():
        assert each.train
        assert each.held
        shared = {one.unit for one in each.train} & {one.unit for one in each.held}
        assert not shared or name.startswith("published") or name == "lungs-masked"
    every = sorted(one.name for one in films if one.fold is not None)
    held = [one.name for name, each in found.items() if "fold" in name for one in each.held]
    assert sorted(held) == every
    for name, each in found.items():
        if name.startswith("without"):
            left_out = {one.source for one in each.held}
            assert not left_out & {one.source for one in each.train}
            assert all(one.split != "test" for one in each.train)
    published = found["published"]
    assert published.best_on_held
    assert sorted(one.name for one in published.train + published.held) == every
    assert len(published.train) == 4 * len(published.held)
    assert not found["fold-0"].best_on_held


def test_masked_lungs_are_black(films):
    masked = FilmDataset(films.films, LABELS, lungs_masked=True)
    image, _ = masked[0]
    assert image[0, SIZE // 2, SIZE // 3] == 0
    assert torch.equal(image[0, 0], films[0][0][0, 0])
