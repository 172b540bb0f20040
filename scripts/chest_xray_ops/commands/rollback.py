"""Let the version before this one take over again.

examples:
  chest-xray rollback

It must answer the golden pictures of its archive first, as in rollout.
The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import add_common_arguments, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    show_versions(Management.find(args.timeout).rollout.back(), args.json)
    return 0
