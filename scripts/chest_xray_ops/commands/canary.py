"""Ask another version and the default the same images, and compare.

examples:
  chest-xray canary 4.1 films/*.png

Callers are not touched, though the two share the machine with them.
The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse
from pathlib import Path

from chest_xray_ops.failure import Refused
from chest_xray_ops.versions.canary import compare
from chest_xray_ops.versions.display import add_common_arguments, count, show_fields
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--concurrency", type=count, default=4, help="requests at a time")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    client = Management.find(args.timeout).client
    default = next((each.version for each in client.versions() if each.default), None)
    if default is None:
        raise Refused("no version is registered")
    found = compare(client, default, args.version, args.images, args.concurrency)
    show_fields(found, args.json)
    return 0
