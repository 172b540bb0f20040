"""Show one version as TorchServe describes it.

examples:
  chest-xray describe
  chest-xray describe --version 4.1 --json

The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_fields
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", help="default: the default version")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    show_fields(Management.find().client.describe(args.version), args.json)
    return 0
