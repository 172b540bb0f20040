"""Train a version's network on a data set, and fit its calibration and its gate.

examples:
  chest-xray train --data ~/chest-xray
  chest-xray train --data ~/chest-xray --version 1.0 --preset original --out build/mine
  chest-xray train --data ~/chest-xray --version 3.0 --steps 500 --learning-rate 1e-3

A run that was cut off goes on where it stopped when the same command is given again.
"""

import argparse
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import print_json, progress_bar, say
from chest_xray_training import loop, plots, taught
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.recipes import (
    RECIPES,
    Histories,
    Recipe,
    Run,
    train_version,
    training_of,
)
from chest_xray_versions import DEFAULT_VERSION, network_class

_PRESETS = {name: preset for each in RECIPES.values() for name, preset in each.presets.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--version", default=DEFAULT_VERSION, help="default: %(default)s")
    parser.add_argument("--preset", choices=_PRESETS, help="default: the version's own")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--out", type=Path, help="default: build/train/VERSION-PRESET")
    parser.add_argument("--restart", action="store_true", help="forget an earlier run in OUT")
    numbers = parser.add_argument_group("numbers that replace those of the preset")
    for name, kind in _numbers().items():
        defaults = [
            f"{getattr(preset, name)} of {title}"
            for title, preset in _PRESETS.items()
            if hasattr(preset, name)
        ]
        option = f"--{name.replace('_', '-')}"
        if kind is bool:
            numbers.add_argument(option, action=argparse.BooleanOptionalAction, default=None)
        else:
            help_text = f"default: {', '.join(defaults)}"
            numbers.add_argument(option, type=kind, metavar="N", help=help_text)


def run(args: argparse.Namespace) -> int:
    presets = training_of(args.version).presets
    preset = args.preset or next(iter(presets))
    if preset not in presets:
        expected = ", ".join(presets)
        raise WrongUsage(f"version {args.version} has no preset {preset}: expected {expected}")
    given = {name: getattr(args, name) for name in _numbers() if getattr(args, name) is not None}
    try:
        recipe = replace(presets[preset], **given)
    except TypeError:
        unknown = ", ".join(name for name in given if not hasattr(presets[preset], name))
        raise WrongUsage(f"preset {preset} has no {unknown}") from None
    out = args.out or ROOT / "build" / "train" / f"{args.version}-{preset}"
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.restart:
        for name in (loop.CHECKPOINT, taught.ANSWERS):
            for kept in out.glob(f"*/{name}"):
                kept.unlink()
    histories = _train(args.version, args.data, recipe, out, device)
    for name, history in histories.items():
        plots.learning_curve(history, out / f"learning_curve_{name}.png")
    weights = out / loop.WEIGHTS
    say(f"next: make evaluate DATA={args.data} VERSION={args.version} WEIGHTS={weights}")
    networks = {
        name: {
            "length": list(history[-1].values())[0],
            "best": min(history, key=lambda row: row["valid_loss"]),
        }
        for name, history in histories.items()
    }
    result = {"version": args.version, "recipe": asdict(recipe), "device": str(device)}
    print_json({**result, "networks": networks, "weights": str(weights)})
    return 0


def _numbers() -> dict[str, Any]:
    """The type of every number in a preset, by its name."""
    return {
        field.name: field.type
        for preset in _PRESETS.values()
        for field in fields(preset)
        if field.type in (int, float, bool)
    }


def _train(version: str, data: Path, recipe: Recipe, out: Path, device: torch.device) -> Histories:
    labels = network_class(version).labels
    films = {split: read_films(data, labels, split) for split in ("train", "valid")}
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=sum(map(len, films.values())))
        train_films, valid_films = (
            FilmDataset(films[split], labels, lambda: bar.advance(reading))
            for split in ("train", "valid")
        )
        task = bar.add_task("training", total=None)

        def progress(what: str, step: int, steps: int) -> None:
            bar.update(task, description=what, completed=step, total=steps)

        return train_version(version, Run(recipe, train_films, valid_films, out, device, progress))
