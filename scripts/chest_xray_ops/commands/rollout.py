"""Bring a new version in and let it take over.

examples:
  chest-xray rollout build/model-store/chest-xray-4.1.mar

Loads the version next to the one that answers, asks it the golden pictures of its archive, lets it
take over, and drains the old one. Whatever fails, the old one goes on answering. A restart keeps
what was changed.
The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse

from chest_xray_ops.versions.display import (
    add_archive_arguments,
    add_common_arguments,
    show_versions,
)
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_archive_arguments(parser)
    parser.add_argument("--remove", action="store_true", help="do not keep the old version")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    rollout = Management.find(args.timeout).rollout
    versions = rollout.out(args.archive, args.workers, keep=not args.remove)
    show_versions(versions, args.json)
    return 0
