"""Change everything about a running server under load, and count what its callers lose.

examples:
  chest-xray endurance --url https://127.0.0.1:8443 --key KEY --archive chest-xray-4.1.mar
  chest-xray endurance --url http://127.0.0.1:8000 --key KEY --archive chest-xray-4.1.mar \\
      --requests 50000 --callers 32 --rotate KEY-ID

Rolls the archive out, back and out again, scales 2 -> 4 -> 1 -> 2, rotates the callers' key if its
id is given, then kills a random worker every 5 s; asks about a drawn film all the while, with wrk
(Debian: apt install wrk). The server is the one that the TS_… variables name; the URL may be its
edge's. Needs a clone of the project.
exit status: 0 nothing was lost, 1 something was.
"""

import argparse
from pathlib import Path

from benchmark_peers.endurance import Callers, changes, measure
from chest_xray_ops.terminal import print_json
from chest_xray_ops.torchserve.instance import Instance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="default: the server's own")
    parser.add_argument("--key", help="the callers' key (default: the server's own)")
    parser.add_argument("--rotate", metavar="KEY-ID", help="the id of the callers' key")
    parser.add_argument("--archive", type=Path, required=True, help="of another version")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--requests", type=int, default=50_000, help="in all, at least")
    parser.add_argument("--kill", type=float, default=120, help="seconds of killing workers")


def run(args: argparse.Namespace) -> int:
    instance = Instance.find()
    key = args.key or instance.key("inference") or ""
    callers = Callers(args.url or instance.inference_url, key, args.callers)
    found = measure(callers, changes(args.archive, args.rotate), args.requests, args.kill)
    print_json(found)
    return 1 if found["lost"] else 0
