"""What every command-line tool here shares: help with examples, progress on stderr."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parent.parent.parent
"""The project's folder."""

console = Console(stderr=True, highlight=False)
"""For people; stdout is for JSON and tables that other programs may read."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring, examples included."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(main: Callable[[], int]) -> int:
    """The exit status of ``main``; input that cannot be used is told in one line and gives 1."""
    try:
        return main()
    except (ValueError, OSError) as error:
        console.print(f"{Path(sys.argv[0]).name}: {error}", soft_wrap=True, markup=False)
        return 1


def progress_bar() -> Progress:
    """A progress bar on stderr; plain lines where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
