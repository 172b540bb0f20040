"""Manage the model versions of a running server.

examples:
  python scripts/manage.py list
  python scripts/manage.py rollout build/model-store/chest-xray-3.1.mar
  python scripts/manage.py rollback
  python scripts/manage.py canary 3.1 films/*.png
  python scripts/manage.py scale 3
  python scripts/manage.py scale --auto --min 1 --max 4
  python scripts/manage.py drain
  python scripts/manage.py register build/model-store/chest-xray-3.1.mar --workers 2
  python scripts/manage.py describe --version 3.1 --json

rollout loads a version beside the one that answers, asks it the golden pictures of its archive,
lets it take over, and drains the old one; whatever fails, the old one goes on answering. What is
changed here is remembered: a restart brings it back.

The server is found by the same TS_… variables that started it, its keys by themselves.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chest_xray.machine import cores
from chest_xray_ops import golden
from chest_xray_ops.cli import console, parser
from chest_xray_ops.torchserve.client import (
    ServerError,
    ServerUnreachable,
    TorchServeClient,
    Version,
)
from chest_xray_ops.torchserve.instance import MODEL, Instance
from chest_xray_ops.torchserve.server import default_workers, gpus
from chest_xray_ops.torchserve.state import State
from chest_xray_ops.versions import scaling
from chest_xray_ops.versions.autoscale import autoscale
from chest_xray_ops.versions.canary import compare
from chest_xray_ops.versions.rollout import Rollout, RolloutFailed, stored

_READY_S = 10.0


class Refused(Exception):
    """The command makes no sense for this server; the message is for a person."""


def list_versions(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return client.list_versions()


def describe(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return client.describe(args.model, args.version)


def register(client: TorchServeClient, args: argparse.Namespace) -> Any:
    before = {version.version for version in _versions(client, args.model)}
    workers = args.workers if args.workers is not None else _usual_workers(client, args.model)
    with stored(args.archive, Instance.find().model_store) as name:
        client.register(name, workers)
        added = [v for v in client.versions(args.model) if v.version not in before]
        if len(added) != 1:
            raise Refused(f"{args.archive.name} holds no new version of {args.model}")
        version = added[0].version
        try:
            client.wait_ready(workers, version, args.model, args.timeout)
        except TimeoutError:
            client.unregister(version, args.model)
            raise
    return _versions(client, args.model)


def set_default(client: TorchServeClient, args: argparse.Namespace) -> Any:
    chosen = [v for v in client.versions(args.model) if v.version == args.version]
    # TorchServe would send all callers to a version that cannot answer.
    if chosen and not chosen[0].ready:
        raise Refused(f"version {args.version} has no READY worker: scale it first")
    client.set_default(args.version, args.model)
    return client.versions(args.model)


def rollout(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return _rollout(client, args).out(args.archive, args.workers, keep=not args.remove)


def rollback(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return _rollout(client, args).back()


def drain(client: TorchServeClient, args: argparse.Namespace) -> Any:
    versions = client.versions(args.model)
    for each in versions:
        if args.version in (None, each.version) and not _rollout(client, args).drain(each.version):
            raise Refused(f"version {each.version} is still asked after {args.timeout:.0f} s")
    return versions


def canary(client: TorchServeClient, args: argparse.Namespace) -> Any:
    default = next(each.version for each in client.versions(args.model) if each.default)
    return compare(client, default, args.version, args.images, args.concurrency)


def scale(client: TorchServeClient, args: argparse.Namespace) -> Any:
    if args.auto:
        step = max(1, gpus())
        bounds = args.min or step, args.max or max(step, default_workers())
        return autoscale(Instance.find(), bounds, step, args.version, _say)
    if args.workers > 2 * cores():
        _say(f"{args.workers} workers will share {cores()} cores: expect no more speed")
    scaling.scale(
        client, Instance.find(), args.workers, args.version, args.model, args.timeout, _say
    )
    return client.versions(args.model)


def unregister(client: TorchServeClient, args: argparse.Namespace) -> Any:
    versions = client.versions(args.model)
    refused_anyway = len(versions) > 1 and any(
        each.version == args.version and each.default for each in versions
    )
    if not (args.at_once or refused_anyway):
        drain(client, args)
    client.unregister(args.version, args.model)
    return _versions(client, args.model)


def ready(client: TorchServeClient, args: argparse.Namespace) -> Any:
    default = [version for version in client.versions(args.model) if version.default]
    store = Instance.find().model_store
    [picture, *_] = golden.read(store / default[0].archive)
    answer = client.predict(picture.request, timeout_s=_READY_S)
    if fault := picture.fault(answer, default[0].version):
        raise Refused(fault)
    return default


def _rollout(client: TorchServeClient, args: argparse.Namespace) -> Rollout:
    return Rollout(client, Instance.find(), args.timeout, _say)


def _say(text: str) -> None:
    console.print(text, markup=False)


def _versions(client: TorchServeClient, model: str) -> list[Version]:
    """The versions of a model that may not be registered at all."""
    try:
        return client.versions(model)
    except ServerError as error:
        if error.status == 404:
            return []
        raise


def _usual_workers(client: TorchServeClient, model: str) -> int:
    """As many as the default version has, else one per core, as TorchServe starts them."""
    default = [len(v.workers) for v in _versions(client, model) if v.default]
    return default[0] if default and default[0] else os.cpu_count() or 1


def _show(result: Any, as_json: bool) -> None:
    """A list of versions, or TorchServe's description of one."""
    if isinstance(result, list):
        rows = [
            {
                "model": version.model,
                "version": version.version,
                "default": version.default,
                "ready": version.ready,
                "workers": len(version.workers),
            }
            for version in result
        ]
        table = Table("model", "version", "default", "workers READY")
        for row in rows:
            count = f"{row['ready']} of {row['workers']}"
            table.add_row(row["model"], row["version"], "yes" if row["default"] else "", count)
        shown: Any = rows
    else:
        table = Table("field", "value")
        for field, value in result.items():
            lines = value if isinstance(value, list) else [value]
            for line in lines:
                pairs = line.items() if isinstance(line, dict) else [("", line)]
                table.add_row(field, "  ".join(f"{k} {v}".strip() for k, v in pairs))
        shown = result
    if as_json:
        print(json.dumps(shown, indent=2))
    else:
        Console().print(table)


_REMEMBERED = (register, set_default, scale, unregister)


def _arguments() -> argparse.Namespace:
    top = parser(__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", default=MODEL)
    common.add_argument("--json", action="store_true", help="JSON instead of a table")
    common.add_argument("--timeout", type=float, default=120, help="seconds to wait for workers")
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, run: Callable[[TorchServeClient, argparse.Namespace], Any], text: str
    ) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(run=run)
        return added

    verb("list", list_versions, "every registered version")
    verb("describe", describe, "one version, as TorchServe describes it").add_argument("--version")
    one = verb("register", register, "load an archive beside the versions that serve")
    one.add_argument("archive", type=Path, help="a .mar file, or its name in the model store")
    one.add_argument("--workers", type=_count, help="default: as many as the default version has")
    one = verb("set-default", set_default, "let a version answer requests that name none")
    one.add_argument("version")
    one = verb("rollout", rollout, "bring a new version in and let it take over")
    one.add_argument("archive", type=Path, help="a .mar file, or its name in the model store")
    one.add_argument("--workers", type=_count, help="default: as many as the default version has")
    one.add_argument("--remove", action="store_true", help="do not keep the old version")
    verb("rollback", rollback, "let the version before this one take over again")
    one = verb("canary", canary, "ask another version and the default the same, and compare")
    one.add_argument("version")
    one.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    one.add_argument("--concurrency", type=_count, default=4, help="requests at a time")
    one = verb("drain", drain, "wait until nothing is queued or at work")
    one.add_argument("--version", help="default: all")
    one = verb("scale", scale, "change a version's number of workers and wait for them")
    one.add_argument("workers", type=_count, nargs="?")
    one.add_argument("--version", help="default: the default version")
    one.add_argument("--auto", action="store_true", help="follow the load until Ctrl-C")
    one.add_argument("--min", type=_count, help="with --auto (default: 1, or one per GPU)")
    one.add_argument(
        "--max", type=_count, help="with --auto (default: what serve.py starts, or two per GPU)"
    )
    one = verb("unregister", unregister, "drain and remove a version that is not the default one")
    one.add_argument("version")
    one.add_argument("--at-once", action="store_true", help="lose what it is being asked")
    verb("ready", ready, "succeed if a worker of the default version can answer")
    args = top.parse_args()
    if args.run is scale and (args.workers is None) is not args.auto:
        top.error("scale wants a number of workers, or --auto")
    return args


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def main() -> int:
    args = _arguments()
    try:
        instance = Instance.find()
        client = TorchServeClient.of(instance)
        result = args.run(client, args)
        if args.run in _REMEMBERED:
            before = State.load(instance)
            State.of(client.versions(), before.previous if before else "").save(instance)
        _show(result, args.json)
    except KeyboardInterrupt:
        return 0
    except (ServerError, Refused, RolloutFailed, ValueError, OSError) as error:
        console.print(f"manage.py: {error}", soft_wrap=True, markup=False)
        return 1
    except ServerUnreachable as error:
        console.print(f"manage.py: no server at {error}", soft_wrap=True, markup=False)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
