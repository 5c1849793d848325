"""The steps that make and upgrade each database, one SQL file each, for both engines.

A file is written for SQLite and read for PostgreSQL with that engine's names of the types. Where PostgreSQL needs
another text, it lies beside the first as NNNN_name.postgresql.sql. On PostgreSQL a step runs while older programs work:
it only adds.
"""

from __future__ import annotations

import importlib.resources
import re
from typing import NamedTuple

from store.database import Engine

_OWN = ".postgresql.sql"
_TYPES = {"integer": "bigint", "blob": "bytea"}
_TYPE = re.compile(r"\b(integer|blob)\b")
_COMMENT = re.compile(r"--.*")
_STRICT = re.compile(r"\) strict(, without rowid)?;")


class Step(NamedTuple):
    number: int
    name: str
    sql: str


def steps(nature: str, engine: Engine) -> list[Step]:
    """Every step of one database, in order."""
    folder = importlib.resources.files("store") / "migrations" / nature
    texts = {item.name: item.read_text() for item in folder.iterdir() if item.name.endswith(".sql")}
    found = []
    for file in sorted(name for name in texts if not name.endswith(_OWN)):
        name = file.removesuffix(".sql")
        sql = texts[file] if engine == "sqlite" else texts.get(name + _OWN) or for_postgresql(texts[file])
        found.append(Step(int(name[:4]), name, sql))
    return found


def for_postgresql(sql: str) -> str:
    """A text for SQLite with PostgreSQL's words."""
    return _STRICT.sub(");", _TYPE.sub(lambda found: _TYPES[found[1]], sql))


def statements(sql: str) -> list[str]:
    """The statements of a step, without comments. No text in a step holds a semicolon or two hyphens."""
    return [statement.strip() for statement in _COMMENT.sub("", sql).split(";") if statement.strip()]
