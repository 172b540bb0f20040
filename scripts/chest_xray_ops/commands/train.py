"""Train a version's network on a data set, and fit its calibration and its gate.

examples:
  chest-xray train --data ~/chest-xray
  chest-xray train --data ~/chest-xray --version 1.0 --preset original --out build/mine

A run that was cut off goes on where it stopped when the same command is given again.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import print_json, progress_bar, say
from chest_xray_training import loop, plots
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.recipes import PRESETS, Run, default_preset, train_version
from chest_xray_versions import DEFAULT_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--version", default=DEFAULT_VERSION, help="default: %(default)s")
    parser.add_argument("--preset", choices=PRESETS, help="default: the version's own")
    parser.add_argument("--epochs", type=int, help="instead of the preset's, of 1.x and 2.x")
    parser.add_argument("--steps", type=int, help="instead of the preset's, of 3.x")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--out", type=Path, help="default: build/train/VERSION-PRESET")
    parser.add_argument("--restart", action="store_true", help="forget an earlier run in OUT")


def run(args: argparse.Namespace) -> int:
    preset = args.preset or default_preset(args.version)
    recipe = _recipe(preset, args)
    out = args.out or ROOT / "build" / "train" / f"{args.version}-{preset}"
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.restart:
        for checkpoint in out.glob(f"*/{loop.CHECKPOINT}"):
            checkpoint.unlink()
    histories = _train(args, recipe, out, device)
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


def _recipe(preset: str, args: argparse.Namespace) -> Any:
    length = {"epochs": args.epochs, "steps": args.steps}
    given = {name: value for name, value in length.items() if value}
    try:
        return replace(PRESETS[preset], seed=args.seed, **given)
    except TypeError:
        raise WrongUsage(f"preset {preset} has no {' and '.join(given)}") from None


def _train(args: argparse.Namespace, recipe: Any, out: Path, device: torch.device) -> Any:
    """The history of every network that was trained, by its name."""
    films = {split: read_films(args.data, split) for split in ("train", "valid")}
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=sum(map(len, films.values())))
        train_films, valid_films = (
            FilmDataset(films[split], lambda: bar.advance(reading)) for split in ("train", "valid")
        )
        task = bar.add_task("training", total=None)

        def progress(what: str, step: int, steps: int) -> None:
            bar.update(task, description=what, completed=step, total=steps)

        job = Run(recipe, train_films, valid_films, out, device, progress)
        return train_version(args.version, job)
