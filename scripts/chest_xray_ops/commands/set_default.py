"""Let a version answer requests that name none.

examples:
  chest-xray set-default 4.1

A restart keeps it so. rollout does the same with checks before and a way back.
The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    show_versions(Management.find(args.timeout).set_default(args.version), args.json)
    return 0
