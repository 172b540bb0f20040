"""Arguments and output that the verbs for versions share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from chest_xray_ops.terminal import print_json, print_table
from chest_xray_ops.torchserve.client import Version
from chest_xray_ops.torchserve.instance import MODEL


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--timeout``."""
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--timeout", type=float, default=120, help="seconds to wait for workers")


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """The archive of a version that is to be loaded, and its number of workers."""
    parser.add_argument("archive", type=Path, help="a .mar file, or its name in the model store")
    parser.add_argument("--workers", type=count, help="default: as many as the default version has")


def count(text: str) -> int:
    """An argument that is a whole number."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def show_versions(versions: Sequence[Version], as_json: bool) -> None:
    """Print which versions there are."""
    rows = [
        {
            "model": MODEL,
            "version": version.version,
            "default": version.default,
            "ready": version.ready,
            "workers": len(version.workers),
        }
        for version in versions
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("version", "default", "workers READY")
    for each in versions:
        ready = f"{each.ready} of {len(each.workers)}"
        table.add_row(each.version, "yes" if each.default else "", ready)
    print_table(table)


def show_fields(fields: dict[str, Any], as_json: bool) -> None:
    """Print an object, one row per field, or per item where a field is a list."""
    if as_json:
        print_json(fields)
        return
    table = Table("field", "value")
    for field, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            pairs = item.items() if isinstance(item, dict) else [("", item)]
            table.add_row(field, "  ".join(f"{name} {text}".strip() for name, text in pairs))
    print_table(table)
