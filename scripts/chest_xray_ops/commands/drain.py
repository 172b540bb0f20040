"""Wait until nothing is queued or at work.

examples:
  chest-xray drain
  chest-xray drain --version 4.0 --timeout 30

The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", help="default: all")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    show_versions(Management.find(args.timeout).drain(args.version), args.json)
    return 0
