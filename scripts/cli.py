"""What every command-line tool here shares: help with examples, progress on stderr."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""

console = Console(stderr=True, highlight=False)
"""For people; stdout is for JSON and tables that other programs may read."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring, examples included."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def progress_bar() -> Progress:
    """A progress bar on stderr; plain lines where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
