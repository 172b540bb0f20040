"""The options of `train` come from the recipes."""

import argparse
from pathlib import Path

import pytest

from chest_xray_ops.commands import train
from chest_xray_ops.failure import WrongUsage
from chest_xray_training.recipes import RECIPES, training_of


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args(["--data", "films", *arguments])


def recipe_of(monkeypatch, tmp_path, *arguments):
    """The recipe that these arguments train with."""
    given = []

    def remember(version, data, recipe, out, device):
        given.append(recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_train", remember)
    with pytest.raises(KeyboardInterrupt):
        train.run(parsed("--out", str(tmp_path), *arguments))
    return given[0]


def test_every_version_has_a_default_preset(monkeypatch, tmp_path):
    for version in ("1.0", "2.0", "3.0", "4.0"):
        first = next(iter(training_of(version).presets.values()))
        assert recipe_of(monkeypatch, tmp_path, "--version", version) == first


def test_numbers_replace_those_of_the_preset(monkeypatch, tmp_path):
    options = ("--version", "3.0", "--steps", "7", "--learning-rate", "1e-3")
    options += ("--use-contradicted", "--seed", "2")
    recipe = recipe_of(monkeypatch, tmp_path, *options)
    assert (recipe.steps, recipe.learning_rate, recipe.seed) == (7, 1e-3, 2)
    assert recipe.use_contradicted
    original = recipe_of(monkeypatch, tmp_path, "--version", "1.0", "--preset", "original")
    assert original == RECIPES["single"].presets["original"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "3"], "preset taught has no epochs"),
        (["--version", "3.0", "--epochs", "3"], "preset robust has no epochs"),
        (["--version", "2.0", "--steps", "3", "--mixup", "1"], "has no steps, mixup"),
        (["--version", "1.0", "--preset", "robust"], "version 1.0 has no preset robust: expected"),
    ],
)
def test_what_a_preset_does_not_have_is_refused(options, message):
    with pytest.raises(WrongUsage, match=message):
        train.run(parsed("--out", str(Path("nowhere")), *options))
