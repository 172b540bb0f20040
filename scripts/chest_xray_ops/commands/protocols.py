"""Train the experiments that tell what a version's recipe has learnt.

examples:
  chest-xray protocols --data ~/chest-xray
  chest-xray protocols --data ~/chest-xray --version 3.0 --only fold-0 fold-1 --out build/mine

The networks' answers go to OUT, where `evaluate` finds them; an experiment that has some is left as
it is. A run that was cut off goes on where it stopped.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import TaskID

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import print_json, progress_bar
from chest_xray_training import protocols
from chest_xray_training.dataset import read_films
from chest_xray_training.experiments import experiments
from chest_xray_versions import DEFAULT_VERSION, network_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--version", default=DEFAULT_VERSION, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", help="names of experiments")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--out", type=Path, help="default: reports/VERSION/experiments")


def run(args: argparse.Namespace) -> int:
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    labels = network_class(args.version).labels
    films = read_films(args.data, labels)
    every = {each.name: each for each in experiments(args.version, films)}
    if unknown := set(args.only or ()) - set(every):
        raise WrongUsage(f"no experiment {', '.join(unknown)}: expected {', '.join(every)}")
    folder = args.out or ROOT / "reports" / args.version / "experiments"
    trained = []
    with progress_bar() as bar:
        for name in args.only or every:
            table = folder / f"{name}.csv"
            if table.exists():
                continue
            task = bar.add_task(name, total=None)

            def progress(done: int, count: int, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=count)

            out = ROOT / "build" / "protocols" / args.version / name
            answers = protocols.train(every[name], labels, out, device, progress)
            protocols.write_answers(table, every[name].held, answers, labels)
            trained.append(name)
    print_json({"trained": trained, "answers": str(folder)})
    return 0
