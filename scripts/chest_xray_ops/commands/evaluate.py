"""Evaluate a version on one split of a data set and write its report.

examples:
  chest-xray evaluate --data ~/chest-xray --version 2.0
  chest-xray evaluate --data ~/chest-xray --weights build/train/1.0-converged/weights.pt

Leaves evaluation.json, evaluation.md, predictions.csv and plots in OUT. The sheets of sample films
and of failures show films, so they go to a folder outside the project.
"""

import argparse
import tempfile
from pathlib import Path

from rich.markdown import Markdown

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import console, print_json, progress_bar, say
from chest_xray_training import page
from chest_xray_training.dataset import SPLITS
from chest_xray_training.evaluation import Evaluation
from chest_xray_versions import DEFAULT_VERSION, weights_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--version", default=DEFAULT_VERSION, help="default: %(default)s")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: %(default)s")
    parser.add_argument("--weights", type=Path, help="default: the committed weights of VERSION")
    parser.add_argument(
        "--out", type=Path, help="default: reports/VERSION, or build/evaluate with --weights"
    )
    parser.add_argument("--samples", type=Path, help="folder of the sheets of films")


def run(args: argparse.Namespace) -> int:
    folder = ROOT / ("build/evaluate" if args.weights else "reports")
    out = args.out or folder / args.version / ("" if args.split == "test" else args.split)
    samples = (args.samples or Path(tempfile.gettempdir()) / "chest-xray-samples").resolve()
    if samples.is_relative_to(ROOT.resolve()):
        raise WrongUsage("--samples must lie outside the project: the sheets show films")
    weights = args.weights or weights_path(args.version)
    with progress_bar() as bar:
        task = bar.add_task("reading films", total=None)

        def progress(what: str, done: int, count: int) -> None:
            bar.update(task, description=what, completed=done, total=count)

        evaluation = Evaluation(args.version, weights, args.data, args.split, progress)
        experiments = None if args.weights else ROOT / "reports" / args.version / "experiments"
        found = evaluation.measure(experiments)
    evaluation.write(found, out)
    evaluation.draw_sheets(samples)
    console.print(Markdown(page.markdown(found)))
    say(f"report: {out}\nsheets of films: {samples}")
    print_json(found)
    return 0
