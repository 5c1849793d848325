"""What a page of the documentation has for a shell.

How it is marked: a ```sh block is run. A ```text block right after it is what it prints, where … stands for anything.
A ```python block is run as a program; a ```sql block, with the file's name behind it, is asked of that database. Blocks
of any other kind are only read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"

_FENCE = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: what kind, the word behind the kind, and its text."""

    page: Path
    line: int
    kind: str
    word: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.stem}-{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2] or "", found[3])
        for found in _FENCE.finditer(text)
    ]


def runs(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.kind in ("sh", "python")]


def agrees(printed: str, shown: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
