"""Manage the model versions of a running server.

examples:
  python scripts/manage.py list
  python scripts/manage.py register build/model-store/chest-xray-3.1.mar --workers 2
  python scripts/manage.py set-default 3.1
  python scripts/manage.py scale 3 --version 3.1
  python scripts/manage.py unregister 3.0
  python scripts/manage.py describe --version 3.1 --json

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

from archive import verify
from chest_xray.slots import cores
from cli import console, parser
from instance import MODEL, Instance
from torchserve_client import ServerError, ServerUnreachable, TorchServeClient, Version


class Refused(Exception):
    """The command makes no sense for this server; the message is for a person."""


def list_versions(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return client.list_versions()


def describe(client: TorchServeClient, args: argparse.Namespace) -> Any:
    return client.describe(args.model, args.version)


def register(client: TorchServeClient, args: argparse.Namespace) -> Any:
    before = {version.version for version in _versions(client, args.model)}
    workers = args.workers if args.workers is not None else _usual_workers(client, args.model)
    client.register(_into_store(args.archive), workers)
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


def scale(client: TorchServeClient, args: argparse.Namespace) -> Any:
    if args.workers > 2 * cores():
        console.print(f"{args.workers} workers will share {cores()} cores: expect no more speed")
    client.scale(args.workers, args.version, args.model)
    client.wait_ready(args.workers, args.version, args.model, args.timeout)
    return client.versions(args.model)


def unregister(client: TorchServeClient, args: argparse.Namespace) -> Any:
    client.unregister(args.version, args.model)
    return _versions(client, args.model)


def ready(client: TorchServeClient, args: argparse.Namespace) -> Any:
    default = [version for version in client.versions(args.model) if version.default]
    if not any(version.ready for version in default):
        raise Refused("no worker of the default version is READY")
    return default


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


def _into_store(archive: Path) -> str:
    """The archive's file name in the server's model store, copied there if need be.

    TorchServe registers by file name without any URL check, and keeps the file.
    """
    if archive.name == str(archive):
        return archive.name
    verify(archive)
    store = Instance.find().model_store
    target = store / archive.name
    data = archive.read_bytes()
    if target.exists() and target.read_bytes() != data:
        raise Refused(f"{target} is another archive: give the new one another file name")
    if not target.exists():
        target.write_bytes(data)
    return archive.name


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
    one = verb("scale", scale, "change a version's number of workers and wait for them")
    one.add_argument("workers", type=_count)
    one.add_argument("--version", help="default: the default version")
    one = verb("unregister", unregister, "remove a version that is not the default one")
    one.add_argument("version")
    verb("ready", ready, "succeed if a worker of the default version can answer")
    return top.parse_args()


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def main() -> int:
    args = _arguments()
    client = TorchServeClient.of(Instance.find())
    try:
        _show(args.run(client, args), args.json)
    except (ServerError, Refused, ValueError, OSError) as error:
        console.print(f"manage.py: {error}", soft_wrap=True, markup=False)
        return 1
    except ServerUnreachable as error:
        console.print(f"manage.py: no server at {error}", soft_wrap=True, markup=False)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
