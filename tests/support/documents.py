"""The documents as tests read them: their text, their commands and their links."""

import re
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "MODEL_CARD.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<excuse>[^>]+) -->\n)?^```sh\n(?P<lines>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Command:
    """A line of a block of shell commands."""

    document: str
    line: str
    excuse: str
    """Why no test runs it; empty if one does."""


def text(name: str) -> str:
    """A document of the folder docs."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def commands() -> list[Command]:
    """Every command of every document, in order."""
    return [
        Command(document.name, line, (block["excuse"] or "").strip())
        for document in DOCUMENTS
        for block in _BLOCK.finditer(document.read_text(encoding="utf-8"))
        for line in block["lines"].splitlines()
    ]


def lines_to_run() -> list[str]:
    """The commands that are not excused."""
    return [command.line for command in commands() if not command.excuse]


def blocks(language: str, document: str = README) -> list[str]:
    """What stands in a document's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.DOTALL | re.MULTILINE)


def links(document: Path) -> list[str]:
    """Targets of its links and pictures that lie in the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    return [target for target in found if not re.match(r"https?:", target)]


def anchors(document: Path) -> set[str]:
    """What a link may name in it, after GitHub's rule for headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in headings}
