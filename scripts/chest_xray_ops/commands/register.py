"""Load an archive next to the versions that serve.

examples:
  chest-xray register build/model-store/chest-xray-4.1.mar --workers 2

It is asked only by callers who name it, until set-default. A restart brings it back.
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
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    versions = Management.find(args.timeout).register(args.archive, args.workers)
    show_versions(versions, args.json)
    return 0
