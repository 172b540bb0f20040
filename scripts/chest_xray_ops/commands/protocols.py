"""Train the experiments that tell what the recipe of version 3.0 has learnt.

examples:
  chest-xray protocols --data ~/chest-xray
  chest-xray protocols --data ~/chest-xray --only without-ieee8023-nitrd-da --out build/mine

Weights go to OUT, where `evaluate` finds them; an experiment that has some is left as it is. A run
that was cut off goes on where it stopped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import TaskID

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import print_json, progress_bar
from chest_xray_training import protocols
from chest_xray_training.dataset import read_films
from chest_xray_versions import PROTOCOLS, network_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--only", nargs="+", help="names of experiments")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--out", type=Path, default=PROTOCOLS, help="folder of the weights")


def run(args: argparse.Namespace) -> int:
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    recipe = protocols.RECIPE
    if args.steps:
        recipe = replace(recipe, steps=args.steps)
    labels = network_class(protocols.VERSION).labels
    films = read_films(args.data, labels)
    every = {experiment.name: experiment for experiment in protocols.experiments(films)}
    if unknown := set(args.only or ()) - set(every):
        raise WrongUsage(f"no experiment {', '.join(unknown)}: expected {', '.join(every)}")
    args.out.mkdir(parents=True, exist_ok=True)
    trained = []
    with progress_bar() as bar:
        for name in args.only or every:
            weights = args.out / f"{name}.pt"
            if weights.exists():
                continue
            task = bar.add_task(name, total=recipe.steps)

            def progress(step: int, steps: int, task: TaskID = task) -> None:
                bar.update(task, completed=step)

            out = ROOT / "build" / "protocols" / name
            state = protocols.train(every[name], labels, recipe, out, device, progress)
            torch.save(state, weights)
            trained.append(name)
    print_json({"trained": trained, "weights": str(args.out)})
    return 0
