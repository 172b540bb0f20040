"""What commands show: progress and remarks on stderr, results on stdout."""

import json
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(stderr=True, highlight=False)
"""For people; stdout is for JSON and tables that other programs may read."""


def say(text: str) -> None:
    """Print a remark on stderr."""
    console.print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a result on stdout."""
    print(json.dumps(value, indent=2))


def print_table(table: Table) -> None:
    """Print a result on stdout, as wide as the terminal."""
    Console().print(table)


def progress_bar() -> Progress:
    """A progress bar on stderr; plain lines where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
