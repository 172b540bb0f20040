"""Training on a handful of small pictures with a network that fits the time."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from chest_xray_training.loop import CHECKPOINT, HISTORY, WEIGHTS, Recipe, train
from chest_xray_training.recipes import training_of

RECIPE = Recipe(epochs=4, patience=4, batch_size=4, seed=7)
CPU = torch.device("cpu")


def network():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(48, 3))


@pytest.fixture(scope="module")
def films():
    torch.manual_seed(1)
    targets = torch.arange(18) % 3
    return TensorDataset(torch.randn(18, 3, 4, 4) + targets[:, None, None, None], targets)


def run(films, out, recipe=RECIPE):
    history = train(network(), recipe, films, films, out, CPU)
    return history, torch.load(out / WEIGHTS, weights_only=True)


def test_seeded(films, tmp_path):
    first, one = run(films, tmp_path / "one")
    again, two = run(films, tmp_path / "two")
    assert first == again
    assert all(torch.equal(one[name], two[name]) for name in one)
    other, _ = run(films, tmp_path / "other", Recipe(4, 4, batch_size=4, seed=8))
    assert other != first


def test_a_run_that_was_cut_ends_the_same(films, tmp_path):
    whole, weights = run(films, tmp_path / "whole")
    stop_after = 6  # steps, within the second epoch

    def cut(epoch, step, steps):
        if (epoch - 1) * steps + step == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), RECIPE, films, films, tmp_path / "cut", CPU, cut)
    resumed, resumed_weights = run(films, tmp_path / "cut")
    assert resumed == whole
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)
    assert json.loads((tmp_path / "cut" / HISTORY).read_text()) == whole


def test_it_learns_and_keeps_the_best(films, tmp_path):
    history, weights = run(films, tmp_path, Recipe(epochs=40, patience=5, batch_size=4))
    best = min(row["valid_loss"] for row in history)
    assert best < history[0]["valid_loss"]
    model = network()
    model.load_state_dict(weights)
    model.eval()
    images, targets = films.tensors
    loss = nn.functional.cross_entropy(model(images), targets).item()
    assert loss == pytest.approx(best, abs=1e-6)


def test_patience_ends_a_run_that_gets_no_better(films, tmp_path):
    recipe = Recipe(epochs=50, patience=3, learning_rate=50.0, batch_size=4)
    history, _ = run(films, tmp_path, recipe)
    losses = [row["valid_loss"] for row in history]
    assert len(losses) == losses.index(min(losses)) + 1 + recipe.patience < 50


def test_another_recipe_is_not_resumed(films, tmp_path):
    run(films, tmp_path)
    with pytest.raises(ValueError, match=CHECKPOINT):
        run(films, tmp_path, Recipe(epochs=5, patience=4, batch_size=4, seed=7))


def test_the_original_recipe_is_a_preset():
    original = training_of("1.0").presets["original"]
    assert (original.epochs, original.learning_rate, original.batch_size) == (1, 0.05, 20)
