"""Build the archive of a version: code, network, weights, labels and configuration.

examples:
  chest-xray archive
  chest-xray archive --version 4.1 --weights build/train/mine/weights.pt

The same sources give the same bytes: entries are sorted, stored and carry one fixed date. The
archive goes into the model store and its path is printed.
"""

import argparse
from pathlib import Path

from chest_xray_ops.archive import build
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_versions import DEFAULT_VERSION, weights_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default=DEFAULT_VERSION, help="default: %(default)s")
    parser.add_argument("--weights", type=Path, help="default: the committed weights of VERSION")
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="default: the model store of the server"
    )


def run(args: argparse.Namespace) -> int:
    store = args.store or Instance.from_environment().model_store
    print(build(args.version, args.weights or weights_path(args.version), store))
    return 0
