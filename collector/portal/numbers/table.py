"""What is on a page of numbers as tables, for people's own tools: see sheet.py and document.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

Kind = Literal["text", "number", "share", "moment"]
Cell = str | int | float | None


class Column(NamedTuple):
    """`kind`: a text; how many; a share of one; epoch milliseconds."""

    key: str
    title: str
    kind: Kind


class Table(msgspec.Struct, frozen=True):
    """`name` is for addresses; a row has a cell for each column, None where there is no such number."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
