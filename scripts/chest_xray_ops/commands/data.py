"""Turn raw public downloads into one data set with patient-disjoint splits.

examples:
  chest-xray data --kaggle ~/chest_xray --out ~/data
  chest-xray data --list ~/covidx/train.txt ~/covidx/train \\
      --list ~/covidx/test.txt ~/covidx/test --kaggle ~/chest_xray --out ~/data

--kaggle is the folder tree of the paediatric set; --list is a COVIDx-style list of file, label and
patient, and the folder its files lie in. Both may be given several times.
exit status: 0 done, 1 the downloads cannot be used, 2 wrong usage.
"""

import argparse
from pathlib import Path

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.terminal import print_json, progress_bar
from chest_xray_training.prepare import prepare, read_kaggle, read_list
from chest_xray_versions import DEFAULT_VERSION, network_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kaggle", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument(
        "--list", type=Path, nargs=2, action="append", default=[], metavar=("LIST", "IMAGES")
    )
    parser.add_argument(
        "--version", default=DEFAULT_VERSION, help="whose labels are read (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new data set")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=(0.7, 0.15, 0.15),
        metavar=("TRAIN", "VALID", "TEST"),
    )
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    if not args.kaggle and not args.list:
        raise WrongUsage("give --kaggle or --list")
    if abs(sum(args.shares) - 1) > 1e-6 or min(args.shares) < 0:
        raise WrongUsage("--shares must be three shares that sum to 1")
    labels = network_class(args.version).labels
    films = [film for root in args.kaggle for film in read_kaggle(root, labels)]
    films += [film for path, images in args.list for film in read_list(path, images, labels)]
    with progress_bar() as bar:
        task = bar.add_task("checking films", total=len(films))
        done = prepare(films, args.out, args.shares, args.seed, lambda: bar.advance(task))
    print_json({"out": str(args.out), "films": done.counts, "left_out": done.left_out})
    return 0
