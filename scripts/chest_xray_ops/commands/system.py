"""Install the service on this machine, upgrade it, roll it back or remove it (systemd).

examples:
  sudo python3 scripts/install.py install
  sudo python3 scripts/install.py install --no-edge
  sudo python3 scripts/install.py rollback
  python3 scripts/install.py status
  sudo python3 scripts/install.py uninstall --purge
  python3 scripts/install.py install --root /tmp/tree --environment .venv

From a clone, before anything is installed: scripts/install.py is `chest-xray system`. `install`
makes a release of this tree, with an environment and an archive of its own, and switches to it; if
it does not start, back again. A second time, it upgrades, or changes nothing if nothing has
changed. The release before is kept, and `rollback` switches to it. Settings go into
/etc/chest-xray/environment, which is kept. The command `chest-xray` is then the service's own and
runs as its user: `sudo chest-xray keys create --name ward-7`.
Needs Python 3.10+ with venv; the edge needs nginx (Debian: apt install nginx-light).
exit status: 0 done, 1 it cannot be done, 2 wrong usage.
"""

import argparse
import json
import os
from pathlib import Path

from chest_xray_ops.deployment.installation import Installation
from chest_xray_ops.failure import Refused
from chest_xray_ops.places import CLONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, default=Path("/"), help="install below this folder")
    common.add_argument("--dry-run", action="store_true", help="say what would be done")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser("install", help="install or upgrade", parents=[common])
    install.add_argument(
        "--environment", type=Path, help="one with the requirements in it, to copy"
    )
    install.add_argument("--no-edge", action="store_true", help="the service alone")
    actions.add_parser("rollback", help="back to the release before", parents=[common])
    actions.add_parser("status", help="what is installed", parents=[common])
    remove = actions.add_parser("uninstall", help="remove it", parents=[common])
    remove.add_argument("--purge", action="store_true", help="settings, state, keys and user too")


def run(args: argparse.Namespace) -> int:
    os.umask(0o022)  # the service, which is another user, reads what is installed here
    installation = Installation(args.root.resolve(), args.dry_run)
    if args.action == "install":
        if not CLONE:
            raise Refused("this needs a clone of the project")
        installation.install(args.environment, edge=not args.no_edge)
    elif args.action == "rollback":
        installation.rollback()
    elif args.action == "uninstall":
        installation.uninstall(args.purge)
    print(json.dumps(installation.status()))
    return 0
