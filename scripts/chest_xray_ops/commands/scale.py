"""Change a version's number of workers and wait for them.

examples:
  chest-xray scale 3
  chest-xray scale 2 --version 4.1
  chest-xray scale --auto --min 1 --max 4

Callers are answered throughout. --auto follows the load until Ctrl-C; else a restart keeps the
number.
The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse
from contextlib import suppress

from chest_xray.machine import cores
from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.terminal import say
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_ops.torchserve.server import default_workers, gpus
from chest_xray_ops.versions.autoscale import autoscale
from chest_xray_ops.versions.display import add_common_arguments, count, show_versions
from chest_xray_ops.versions.management import Management


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workers", type=count, nargs="?")
    parser.add_argument("--version", help="default: the default version")
    parser.add_argument("--auto", action="store_true", help="follow the load until Ctrl-C")
    parser.add_argument("--min", type=count, help="with --auto (default: 1, or one per GPU)")
    parser.add_argument(
        "--max", type=count, help="with --auto (default: as many as serve starts with)"
    )
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if (args.workers is None) is not args.auto:
        raise WrongUsage("give a number of workers, or --auto")
    if args.auto:
        step = max(1, gpus())
        bounds = args.min or step, args.max or max(step, default_workers())
        with suppress(KeyboardInterrupt):
            autoscale(Instance.find(), bounds, step, args.version, say)
        return 0
    if args.workers > 2 * cores():
        say(f"{args.workers} workers will share {cores()} cores: expect no more speed")
    show_versions(Management.find(args.timeout).scale(args.workers, args.version), args.json)
    return 0
