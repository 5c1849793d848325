"""The numbers of a page as JSON: what was asked for, up to when it is counted, and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collector.portal.numbers.counted import Counted
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.view import View, started_at
from store.moment import iso
from store.rollups.stored import Scope


def document(
    page: str, scope: Scope, view: View, more: Mapping[str, str], counted: Counted, tables: Sequence[Table]
) -> dict[str, Any]:
    """Times in ISO 8601 with their zone; what there is no number of is null."""
    return {
        "page": page,
        "partner": scope.partner_key,
        "apps": list(scope.app_keys),
        "view": _view(view) | {name: value for name, value in more.items() if value},
        "countedUpTo": iso(counted.up_to),
        "countingAnew": counted.anew,
        "tables": {table.name: [_row(table.columns, row) for row in table.rows] for table in tables},
    }


def _view(view: View) -> dict[str, Any]:
    earlier = view.earlier()
    return {
        "period": view.period,
        **_days(view),
        "tz": view.zone,
        "begins": started_at(view.span.first, view.zone).isoformat(),
        "ends": started_at(view.span.end, view.zone).isoformat(),
        "compare": {"with": view.compared, **_days(earlier)} if earlier else None,
        "filters": [{"facet": facet, "value": value} for facet, value in view.filters],
    }


def _days(view: View) -> dict[str, str]:
    return {"from": view.first.isoformat(), "to": view.last.isoformat()}


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> dict[str, Cell]:
    return {column.key: _told(column, cell) for column, cell in zip(columns, row, strict=True)}


def _told(column: Column, cell: Cell) -> Cell:
    return iso(cell) if column.kind == "moment" and isinstance(cell, int) else cell


def file_name(place: str, page: str, view: View, kind: str, table: str = "") -> str:
    """What a page's file is called: nothing in it can end a header or lead to another directory."""
    said = [place, page, *([table] if table else []), view.first.isoformat(), view.last.isoformat()]
    plain = "-".join(said)
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in plain) + f".{kind}"
