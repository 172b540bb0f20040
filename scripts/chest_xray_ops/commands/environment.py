"""Make the virtual environment of a clone, without CUDA libraries where there is no GPU.

examples:
  python3 scripts/environment.py .venv
  python3 scripts/environment.py .venv --requirements requirements-dev.txt --editable
  python3 scripts/environment.py /opt/venv --device gpu

Needs nothing but Python 3.10+ with venv and, for pip, the network.
exit status: 0 done, 1 it cannot be done, 2 wrong usage.
"""

import argparse
from pathlib import Path

from chest_xray_ops.deployment import environment
from chest_xray_ops.places import ROOT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where to make it; what is there is replaced")
    parser.add_argument("--requirements", type=Path, default=ROOT / "requirements.txt")
    parser.add_argument(
        "--editable", action="store_true", help="install this clone, too, by links to its files"
    )
    parser.add_argument("--device", choices=environment.DEVICES, default="auto")


def run(args: argparse.Namespace) -> int:
    environment.make(args.folder, args.requirements, args.device)
    if args.editable:
        environment.install_project(args.folder / "bin" / "python", ROOT, editable=True)
    return 0
