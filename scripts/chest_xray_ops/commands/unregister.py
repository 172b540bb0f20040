"""Drain and remove a version that is not the default one.

examples:
  chest-xray unregister 4.0

The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version")
    parser.add_argument("--at-once", action="store_true", help="lose what it is working on")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    versions = Management.find(args.timeout).unregister(args.version, args.at_once)
    show_versions(versions, args.json)
    return 0
