"""Manage the keys of callers that may ask through the edge.

examples:
  chest-xray keys create --name ward-7
  chest-xray keys create --name trial --days 30
  chest-xray keys list
  chest-xray keys rotate 3f9a0c2b7d --grace-hours 48
  chest-xray keys revoke 3f9a0c2b7d
  chest-xray keys rotate-management

A key is shown once, when it is made. Its hash, name and dates are kept in keys.json of the runs
folder (CHEST_XRAY_KEYS names another file), mode 0600. A running edge takes changes over by itself.
`rotate` makes a key of the same name and lifetime and ends the old one after the grace period, so
that a caller can change over at any time in between. These keys allow predictions alone.
TorchServe's own key for management, in key_file.json of a running server, is new at every start
and after rotate-management.
exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

import argparse
from datetime import timedelta

from rich.table import Table

from chest_xray_ops.edge.keys import Key, Keys
from chest_xray_ops.terminal import print_json, print_table, say
from chest_xray_ops.torchserve.client import rotate_management_key
from chest_xray_ops.torchserve.instance import Instance

_MAX_LIFE = 36_500
"""An upper bound of days and hours that keeps dates within Python's range."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = verbs.add_parser("create", help="make a key")
    create.add_argument("--name", required=True, help="who asks with it; not a person's name")
    create.add_argument("--days", type=_positive, default=365, help="until it expires")
    show = verbs.add_parser("list", help="list every key, without what callers send")
    show.add_argument("--json", action="store_true", help="JSON instead of a table")
    verbs.add_parser("revoke", help="end a key now").add_argument("id")
    rotate = verbs.add_parser("rotate", help="make a key in place of a valid one")
    rotate.add_argument("id")
    rotate.add_argument("--grace-hours", type=_grace, default=24, help="for which both work")
    verbs.add_parser("rotate-management", help="renew the key of TorchServe's management API")


def run(args: argparse.Namespace) -> int:
    keys = Keys.of_this_place()
    if args.action == "create":
        _show_new(*keys.create(args.name, timedelta(days=args.days)))
    elif args.action == "rotate":
        _show_new(*keys.rotate(args.id, timedelta(hours=args.grace_hours)))
    elif args.action == "revoke":
        print_json(keys.revoke(args.id).public())
    elif args.action == "list":
        _show_all(keys, args.json)
    else:
        instance = Instance.find()
        rotate_management_key(instance)
        print_json({"key_file": str(instance.key_file)})
    return 0


def _show_new(key: Key, token: str) -> None:
    say("This key is shown once and kept nowhere.")
    print_json({"key": token, **key.public()})


def _show_all(keys: Keys, as_json: bool) -> None:
    rows = [key.public() for key in keys.read()]
    if as_json:
        print_json(rows)
        return
    table = Table("id", "name", "state", "created", "expires", "revoked")
    for row in rows:
        table.add_row(*(row[str(column.header)] or "" for column in table.columns))
    print_table(table)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < _MAX_LIFE:
        raise argparse.ArgumentTypeError(f"{text} is not a lifetime")
    return value


def _grace(text: str) -> float:
    return 0.0 if float(text) == 0 else _positive(text)
