"""Classify images and print one JSON line per input, in the order given.

examples:
  chest-xray predict film.png
  chest-xray predict films/*.jpg https://example.org/film.jpg --concurrency 16
  find films -name '*.png' | chest-xray predict --from -
  chest-xray predict film.png --heatmaps pictures
  chest-xray predict --url https://host:8443 --key cxr_... --cacert authority.pem film.png

Without --url it asks the server of this machine that the TS_… variables name, with the key that it
finds there. With --url it asks an edge or a server anywhere, with --key or CHEST_XRAY_KEY.
exit status: 0 all were classified, 1 some were not, 2 wrong usage, 3 no server.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from chest_xray_ops.failure import WrongUsage
from chest_xray_ops.settings import OperatorSettings
from chest_xray_ops.torchserve.client import TorchServeClient
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_ops.torchserve.prediction import Asking, ask_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="*", metavar="IMAGE_OR_URL")
    parser.add_argument("--from", dest="list", metavar="FILE", help="one input a line; - is stdin")
    parser.add_argument("--url", help="address of an edge or a server, such as https://host:8443")
    parser.add_argument("--key", help="what the caller sends as its key (default: CHEST_XRAY_KEY)")
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="authorities to trust, PEM")
    parser.add_argument("--version", help="model version (default: the default one)")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    parser.add_argument("--any-image", action="store_true", help="label what is no chest film too")
    parser.add_argument("--heatmaps", type=Path, metavar="FOLDER", help="write pictures there")


def run(args: argparse.Namespace) -> int:
    sources = list(_sources(args))
    if not sources:
        raise WrongUsage("give at least one image or URL")
    if args.concurrency < 1:
        raise WrongUsage("--concurrency must be at least 1")
    asking = Asking(_client(args), args.version, args.any_image, args.heatmaps)
    return 0 if ask_all(asking, sources, args.concurrency) else 1


def _client(args: argparse.Namespace) -> TorchServeClient:
    if not args.url:
        return TorchServeClient.of(Instance.find())
    if args.cacert and not args.cacert.is_file():
        raise WrongUsage(f"--cacert: there is no file {args.cacert}")
    key = args.key or OperatorSettings.from_environment().key
    return TorchServeClient(args.url.rstrip("/"), "", key, certificates=args.cacert)


def _sources(args: argparse.Namespace) -> Iterator[str]:
    yield from args.inputs
    if args.list:
        with sys.stdin if args.list == "-" else open(args.list, encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())
