"""Every SQL text of the store as PostgreSQL gets it, found in the sources by the name that it begins with.

What is put together at run time is put together here: names of modules are known, and of a function's own names those
that can be worked out without calling it. Any other piece is a value, and becomes a parameter.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import store
from store.postgres.connection import translated

ROOT = Path(store.__file__).parent
NAME = re.compile(r"/\* ([a-z_]+\.[a-z_]+) \*/")
APART = ("backup.py", "copying.py")
ON_POSTGRESQL = {"db": SimpleNamespace(engine="postgresql")}


class Text(NamedTuple):
    """A statement: its name, the file that it is in, and what the server gets, with numbered parameters."""

    name: str
    file: str
    sql: str


def texts() -> list[Text]:
    """Each once, by file."""
    found = {text for path in sources() for text in of_module(path)}
    return sorted(found, key=lambda text: (text.file, text.name, text.sql))


def sources() -> list[Path]:
    """The modules whose statements PostgreSQL gets, while it may be distributed: a copy comes before that."""
    return sorted(path for path in ROOT.rglob("*.py") if "sqlite" not in path.parts and path.name not in APART)


def names(path: Path) -> set[str]:
    """Of every statement of a module, for whichever engine."""
    return set(NAME.findall(path.read_text()))


def of_module(path: Path) -> Iterator[Text]:
    module = importlib.import_module(".".join(path.relative_to(ROOT.parent).with_suffix("").parts))
    file = str(path.relative_to(ROOT.parent))
    for sql in [*_values(vars(module)), *_Strings(vars(module)).of(ast.parse(path.read_text()))]:
        name = NAME.match(sql)
        if name:
            yield Text(name[1], file, numbered(sql))


def numbered(sql: str) -> str:
    pieces = translated(sql).split("%s")
    numbers = "".join(f"{piece}${number}" for number, piece in enumerate(pieces[:-1], 1))
    return (numbers + pieces[-1]).replace("%%", "%")


def _values(names: Mapping[str, Any]) -> Iterator[str]:
    """What a module's own names stand for."""
    for value in names.values():
        if isinstance(value, dict):
            value = value.get("postgresql")
        if isinstance(value, str):
            yield value


class _Strings(ast.NodeVisitor):
    """The texts within a module's functions, and those that a module has without a name."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = dict(known)
        self._found: list[str] = []

    def of(self, tree: ast.AST) -> list[str]:
        self.visit(tree)
        return self._found

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outside = self._known
        self._known = outside | ON_POSTGRESQL
        for part in ast.walk(node):
            if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                self._learn(part.targets[0].id, part.value)
        self.generic_visit(node)
        self._known = outside

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def _learn(self, name: str, value: ast.expr) -> None:
        with suppress(Exception):  # whatever it is, it is not known before the function runs
            self._known[name] = self._worked_out(value)

    def _worked_out(self, node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "store", "eval"), dict(self._known))  # noqa: S307 - our own source

    def visit_Dict(self, node: ast.Dict) -> None:
        """One text for each engine: PostgreSQL's."""
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and key.value == "sqlite"):
                self.visit(value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._found.append(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._found.append("".join(self._piece(part) for part in node.values))

    def _piece(self, part: ast.expr) -> str:
        if isinstance(part, ast.FormattedValue):
            try:
                return str(self._worked_out(part.value))
            except Exception:  # it is a value
                return "?"
        return str(ast.literal_eval(part))
