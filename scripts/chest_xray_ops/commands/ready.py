"""Succeed if a worker of the default version answers a picture right now.

examples:
  chest-xray ready

The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    show_versions(Management.find().ready(), args.json)
    return 0
