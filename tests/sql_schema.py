"""The schema on PostgreSQL as the migrations make it: which tables Citus distributes, and what it refuses of them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import postgast
from google.protobuf.json_format import MessageToDict

from store.database import NATURES
from store.migrations import Step, statements, steps

Node = dict[str, Any]
KEY = "app_key"


class Table(NamedTuple):
    nature: str
    name: str
    columns: set[str]

    @property
    def distributed(self) -> bool:
        return self.nature != "registry" and KEY in self.columns


def parsed(sql: str) -> list[tuple[str, Node]]:
    """Each statement by PostgreSQL's own parser: its kind, and what is in it."""
    tree = MessageToDict(postgast.parse(sql))
    return [next(iter(statement["stmt"].items())) for statement in tree.get("stmts", [])]


def found(node: Any, kind: str) -> Iterator[Node]:
    """Every node of a kind, in whatever lies below."""
    if isinstance(node, dict):
        for name, below in node.items():
            if name == kind:
                yield below
            yield from found(below, kind)
    elif isinstance(node, list):
        for below in node:
            yield from found(below, kind)


def strings(nodes: list[Node]) -> list[str]:
    return [node["String"]["sval"] for node in nodes if "String" in node]


def every_step() -> list[tuple[str, Step]]:
    return [(nature, step) for nature in NATURES for step in steps(nature, "postgresql")]


def tables(made: list[tuple[str, Step]]) -> dict[str, Table]:
    """Every table with its columns, without partitions."""
    known: dict[str, Table] = {}
    for nature, step in made:
        for kind, node in parsed(step.sql):
            name = node.get("relation", {}).get("relname", "")
            if kind == "CreateStmt" and "partbound" not in node:
                known[name] = Table(nature, name, {column["colname"] for column in found(node, "ColumnDef")})
            elif kind == "AlterTableStmt":
                known[name].columns.update(column["colname"] for column in found(node, "ColumnDef"))
    return known


def refused_by_citus(nature: str, step: Step, known: Mapping[str, Table]) -> list[str]:
    """What Citus would not take of a step, once its tables are distributed."""
    problems = []
    for kind, node in parsed(step.sql):
        name = node.get("relation", {}).get("relname", "")
        problems += [f"{name}: {said}" for said in _refused(kind, node, known, known.get(name))]
    return [f"{nature}/{step.name}: {problem}" for problem in problems]


def _refused(kind: str, node: Node, known: Mapping[str, Table], table: Table | None) -> Iterator[str]:
    if kind in ("CreateTrigStmt", "CreateFunctionStmt", "CreateStatsStmt", "RuleStmt"):
        yield f"{kind} does not work on distributed and reference tables"
    if table is None:
        return
    for constraint, columns in constraints(node):
        what = constraint["contype"]
        if what in ("CONSTR_PRIMARY", "CONSTR_UNIQUE") and table.distributed and KEY not in columns:
            yield f"a unique key ({', '.join(columns)}) without {KEY}"
        if what == "CONSTR_IDENTITY":
            yield "an identity column"
        if what == "CONSTR_FOREIGN":
            to = known[constraint["pktable"]["relname"]]
            if table.distributed != to.distributed:
                yield f"a foreign key to {to.name}, which is {'' if to.distributed else 'not '}distributed"
            elif table.distributed and KEY not in columns:
                yield f"a foreign key without {KEY}"
        alone = "conname" in constraint and len(node.get("cmds", [])) == 1
        if kind == "AlterTableStmt" and what not in ("CONSTR_NOTNULL", "CONSTR_DEFAULT") and not alone:
            yield "a constraint of a new column, which Citus takes by itself alone, and with a name"
    if kind == "IndexStmt" and node.get("concurrent"):
        yield "an index made concurrently"
    if kind == "IndexStmt" and node.get("unique") and table.distributed:
        columns = [item["IndexElem"].get("name", "") for item in node["indexParams"]]
        if KEY not in columns:
            yield f"a unique index ({', '.join(columns)}) without {KEY}"


def constraints(node: Node) -> Iterator[tuple[Node, list[str]]]:
    """Of a table or of its columns, each with the columns that it is about."""
    own = []
    for column in found(node, "ColumnDef"):
        for item in column.get("constraints", []):
            own.append(item["Constraint"])
            yield item["Constraint"], [column["colname"]]
    for constraint in found(node, "Constraint"):
        if not any(constraint is one for one in own):
            yield constraint, strings(constraint.get("keys", []) + constraint.get("fk_attrs", []))


def more_than_additions(nature: str, step: Step) -> list[str]:
    """What an older program would notice of a step: all but new tables, indexes, sequences, and columns that it need
    not know."""
    fresh: set[str] = set()
    dropped: set[str] = set()  # checks, to be made wider
    problems: list[str] = []
    for kind, node in parsed(step.sql):
        name = node.get("relation", {}).get("relname", "")
        if kind == "CreateStmt":
            fresh.add(name)
        elif kind == "IndexStmt":
            if node.get("unique") and name not in fresh:
                problems.append(f"a unique index on {name}, which is there already")
        elif kind == "InsertStmt":
            if name not in fresh:
                problems.append(f"rows for {name}, which is there already")
        elif kind == "AlterTableStmt":
            problems += [f"{name}: {said}" for said in _changed(node, dropped)]
        elif kind != "CreateSeqStmt":
            problems.append(kind)
    problems += [f"{name} is dropped for good" for name in sorted(dropped)]
    return [f"{nature}/{step.name}: {problem}" for problem in problems]


def _changed(node: Node, dropped: set[str]) -> Iterator[str]:
    for command in found(node, "AlterTableCmd"):
        made = next(found(command, "Constraint"), {})
        if command["subtype"] == "AT_DropConstraint" and command["name"].endswith("_check"):
            dropped.add(command["name"])
            continue
        if made.get("contype") == "CONSTR_CHECK" and made.get("conname") in dropped and made.get("skip_validation"):
            dropped.remove(made["conname"])
            continue
        if command["subtype"] != "AT_AddColumn":
            yield command["subtype"]
            continue
        has = {constraint["contype"] for constraint in found(command, "Constraint")}
        if "CONSTR_NOTNULL" in has and "CONSTR_DEFAULT" not in has:
            yield "a column that has to be filled, without a default"
        if has - {"CONSTR_NOTNULL", "CONSTR_DEFAULT", "CONSTR_NULL"}:
            yield f"a column with {', '.join(sorted(has))}"
        if any(found(command, "FuncCall")):
            yield "a column whose default is worked out for every row that is there"


def splits_as_postgresql_does(step: Step) -> bool:
    """Whether our plain way to split a step finds what PostgreSQL's own scanner finds."""
    bare = [re.sub(r"--.*", "", part).strip() for part in postgast.split(step.sql)]
    return statements(step.sql) == [part for part in bare if part]
