"""Blocks of the documents that tests run or compare."""

import re

from support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_lines():
    return [line for block in blocks("sh") for line in block.splitlines()]
