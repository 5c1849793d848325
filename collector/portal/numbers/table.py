"""What is on a page of numbers as tables, for people's own tools: CSV and JSON."""

from __future__ import annotations

import csv
import io
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


def as_csv(table: Table) -> str:
    """One table, its first line the columns' keys."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.key for column in table.columns])
    writer.writerows(table.rows)
    return text.getvalue()


def as_json(tables: Sequence[Table]) -> bytes:
    """All tables by name, a row as an object."""
    told = {
        table.name: [{column.key: cell for column, cell in zip(table.columns, row, strict=True)} for row in table.rows]
        for table in tables
    }
    return msgspec.json.encode(told)
