"""A table as CSV, for spreadsheets: none of its texts is taken for a formula there, and its numbers stay numbers.

The surprising thing is where a cell can begin. Where a spreadsheet parts cells at semicolons, as in much of Europe, it
does so within our texts too, because it sees no quote that it knows; so a text is looked at after each of those, too.
"""

from __future__ import annotations

import csv
import io
import re

from collector.portal.numbers.table import Cell, Column, Table
from store.moment import iso

UTF_8 = "\ufeff"  # what begins with it is read as UTF-8 by spreadsheets; programs do better with JSON
SAFE = "'"  # before what looks like a formula

_BEGINNING = re.compile(
    r"(^|[;\t\r\n])"
    r"(?=[\s'\"`\u00ab\u00bb\u2018-\u201f\u2039\u203a\uff02\uff07]*"  # spaces and quotes do not make it harmless
    r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20\u2212\ufe62-\ufe66\ufe6b])"  # nor do other widths of the same signs
)


def as_csv(table: Table) -> bytes:
    """As RFC 4180 has it, its first line the columns' keys; where there is no number, the cell is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([safe(column.key) for column in table.columns])
    for row in table.rows:
        writer.writerow([_written(column, cell) for column, cell in zip(table.columns, row, strict=True)])
    return (UTF_8 + text.getvalue()).encode("utf-8", "replace")


def _written(column: Column, cell: Cell) -> Cell:
    if isinstance(cell, str):
        return safe(cell)
    return iso(cell) if column.kind == "moment" and isinstance(cell, int) else cell


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula, wherever it begins a cell."""
    return _BEGINNING.sub(rf"\1{SAFE}", text)
