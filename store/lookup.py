"""Looking for many values with statements of one text each, however many there are, so that they are prepared once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from store.database import Connection

TOGETHER = 50  # values that one statement looks for
MARKS = ", ".join("?" * TOGETHER)


def look_up(connection: Connection, sql: str, fixed: tuple[Any, ...], values: Sequence[Any]) -> Iterator[Any]:
    """The rows that a statement finds, which ends with `… in (MARKS)`; `fixed` is what it asks before. Values that are
    asked for in one go are sorted where rows have to be."""
    for at in range(0, len(values), TOGETHER):
        some = values[at : at + TOGETHER]
        yield from connection.execute(sql, (*fixed, *some, *[some[-1]] * (TOGETHER - len(some)))).fetchall()
