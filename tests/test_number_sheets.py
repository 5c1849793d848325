"""The CSV of a page of numbers: what a spreadsheet sees is numbers and texts, and no formula."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.portal.numbers.sheet import as_csv, safe
from collector.portal.numbers.table import Cell, Column, Table

LEADS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
BEFORE = ["", " ", "\u00a0", '"', "'", ' "', "\u201c", "\u3000"]
COLUMNS = [Column("value", "Value", "text"), Column("visitors", "Visitors", "number"), Column("at", "At", "moment")]


def read_back(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def sheet(*rows: list[Cell]) -> list[list[str]]:
    return read_back(as_csv(Table("t", "T", COLUMNS, rows)))


def cells(line: str, separator: str) -> list[str]:
    """What a spreadsheet takes for cells that parts them at another sign, and knows a quote only where one begins."""
    return [cell for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator) for cell in row]


def looks_like_a_formula(cell: str) -> bool:
    """To a spreadsheet: a text that begins with an apostrophe of ours does not."""
    leads = r"[\s\"'\u201c\u3000]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]"
    return re.match(leads, cell) is not None and not cell.startswith("'")


def test_it_begins_with_the_columns_keys_and_ends_its_lines_as_the_standard_says() -> None:
    table = Table("t", "T", COLUMNS, [["news", 12, 0], ["", None, None]])
    assert as_csv(table) == b"\xef\xbb\xbfvalue,visitors,at\r\nnews,12,1970-01-01T00:00:00.000Z\r\n,,\r\n"


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("lead", LEADS)
def test_what_begins_like_a_formula_is_a_text(lead: str, before: str) -> None:
    text = f'{before}{lead}HYPERLINK("https://evil.example";A1)'
    _, (cell, *_) = sheet([text, 1, None])
    assert cell == "'" + text


@pytest.mark.parametrize("number", [-1, -12.5, 0, 7, 0.25])
def test_a_number_stays_a_number(number: float) -> None:
    assert sheet(["a", number, None])[1][1] == str(number)


@pytest.mark.parametrize(
    "text",
    [
        "news",
        "spring, -20%",
        "a=b",
        "x;y",
        "https://a.example/?q=1",
        "e-mail",
        "3+4",
        "it's",
        '"quoted"',
        "…",
        "",
        "ü -",
    ],
)
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    assert sheet([text, 1, None])[1][0] == text


@pytest.mark.parametrize("text", ["a;=1+1", 'a;"=1', "a\n=1", "a\r\n@x", "a\t+1", "; -1", "a;;=1"])
def test_a_cell_that_another_country_s_spreadsheet_begins_within_a_text_is_none_either(text: str) -> None:
    data = as_csv(Table("t", "T", COLUMNS, [[text, 1, None]])).decode("utf-8-sig")
    assert [cell for cell in cells(data, ";") if looks_like_a_formula(cell)] == []


SIGNS = [*LEADS, *"ab1,;'\"\\ ", "\u201c", "\u3000", "\0", "\ufeff", "ü"]
texts = st.text(st.sampled_from(SIGNS), max_size=12) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none()


@given(st.lists(st.tuples(texts, numbers), max_size=5))
def test_what_is_read_back_is_what_was_there_and_no_formula(rows: list[tuple[str, float | None]]) -> None:
    head, *found = sheet(*([text, number, None] for text, number in rows))
    assert head == ["value", "visitors", "at"]
    assert [row[1] for row in found] == ["" if number is None else str(number) for _, number in rows]
    for (text, _), row in zip(rows, found, strict=True):
        assert row[0] == safe(text)
        assert not looks_like_a_formula(row[0])
        assert row[0].replace("'", "") == text.replace("'", "")
        parts = re.split("[;\t\r\n]", row[0])
        assert not any(looks_like_a_formula(part) for part in parts if part.strip("\"' \u3000\u201c"))
