"""What Citus makes of a statement of the store, told without any: whether it refuses it, and whether one node answers.

A statement is read by PostgreSQL's own parser. Each use of a distributed table in it is a place; equalities between the
apps' keys of two places tie them together, and an equality with a value pins them, and all that they are tied to, to
the node of one app. What was refused by Citus 13.2 when it was tried is a rule here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sql_schema import KEY, Node, Table, found, parsed, strings

VOLATILE = {"clock_timestamp", "timeofday", "nextval", "setval", "random", "gen_random_uuid", "uuidv7"}
CONSTANTS = ("ParamRef", "A_Const")


class Verdict(NamedTuple):
    """What is wrong, if anything is; and whether more nodes than one app's are asked."""

    problems: list[str]
    fans_out: bool


def judged(sql: str, known: Mapping[str, Table]) -> Verdict:
    """One statement. Raises the parser's error when it is none."""
    ((kind, node),) = parsed(sql)
    lint = _Lint(known)
    lint.statement(kind, node)
    return lint.verdict()


@dataclass
class Source:
    """Something in a from clause. Columns lead to the place whose key they are, or to None; `places` are below it."""

    alias: str
    columns: dict[str, int | None] | None
    places: set[int]

    @property
    def distributed(self) -> bool:
        return bool(self.places)


@dataclass
class Scope:
    """Names that a column can mean; `reached_out` when one was of the scope outside."""

    outer: "Scope | None" = None
    sources: list[Source] = field(default_factory=list)
    reached_out: bool = False

    @property
    def places(self) -> set[int]:
        return {place for source in self.sources for place in source.places}

    @property
    def mixed(self) -> bool:
        return any(not source.distributed for source in self.sources)


class _Lint:
    def __init__(self, known: Mapping[str, Table]) -> None:
        self._known = known
        self._common: list[dict[str, Source]] = [{}]  # table expressions in force, by name
        self._tied: list[int] = []  # a place's parent among those that it is tied to
        self._pinned: set[int] = set()
        self._together: list[tuple[set[int], set[int], str]] = []
        self._unless_pinned: list[tuple[set[int], str]] = []
        self._problems: list[str] = []
        self._to_many = False

    def verdict(self) -> Verdict:
        pinned = self._roots(self._pinned)
        loose = {place for place in range(len(self._tied)) if self._root(place) not in pinned}
        problems = list(self._problems)
        for one, other, said in self._together:
            if (one | other) & loose and not self._roots(one) & self._roots(other):
                problems.append(said)
        problems += [said for places, said in self._unless_pinned if places & loose]
        return Verdict(problems, bool(loose) or self._to_many)

    # --- places

    def _place(self) -> int:
        self._tied.append(len(self._tied))
        return len(self._tied) - 1

    def _root(self, place: int) -> int:
        while self._tied[place] != place:
            place = self._tied[place]
        return place

    def _roots(self, places: set[int]) -> set[int]:
        return {self._root(place) for place in places}

    def _tie(self, one: int | None, other: int | None) -> None:
        if one is not None and other is not None:
            self._tied[self._root(one)] = self._root(other)

    # --- statements

    def statement(self, kind: str, node: Node, outer: Scope | None = None) -> Source:
        """What the statement gives as a source of another."""
        self._common.append(dict(self._common[-1]))
        self._with(node.get("withClause", {}))
        readers = {
            "SelectStmt": self._select,
            "InsertStmt": self._insert,
            "UpdateStmt": self._change,
            "DeleteStmt": self._change,
        }
        if kind not in readers:
            self._problems.append(f"{kind} is not tried on Citus")
            given = Source("", {}, set())
        else:
            given = readers[kind](node, outer)
        self._common.pop()
        return given

    def _with(self, clause: Node) -> None:
        for item in clause.get("ctes", []):
            expression = item["CommonTableExpr"]
            name = expression["ctename"]
            if clause.get("recursive"):
                self._common[-1][name] = Source(name, None, set())
            source = self.statement(*next(iter(expression["ctequery"].items())))
            columns = source.columns
            if columns is not None and expression.get("aliascolnames"):
                named = strings(expression["aliascolnames"])
                columns = dict(zip(named, columns.values(), strict=False))
            self._common[-1][name] = Source(name, columns, source.places)
            if clause.get("recursive"):
                said = f"the recursive {name} reads distributed tables without a value for {KEY}"
                self._unless_pinned.append((source.places, said))

    def _select(self, node: Node, outer: Scope | None) -> Source:
        if "larg" in node:
            halves = [self.statement("SelectStmt", node[half], outer) for half in ("larg", "rarg")]
            return Source("", dict.fromkeys(halves[0].columns or {}), halves[0].places | halves[1].places)
        scope = Scope(outer)
        self._from(scope, node.get("fromClause", []))
        self._where(scope, node.get("whereClause"))
        rest = ("targetList", "havingClause", "groupClause", "sortClause", "windowClause", "valuesLists", "limitCount")
        below = self._expressions(scope, [node.get(part) for part in rest])
        if node.get("lockingClause"):
            self._unless_pinned.append((scope.places, f"rows are locked without a value for {KEY}"))
        if any(found(node.get("groupClause"), "GroupingSet")):
            self._unless_pinned.append((scope.places, f"grouping sets without a value for {KEY}"))
        given = Source("", self._given(scope, node.get("targetList", [])), scope.places | below)
        if outer is not None and scope.reached_out:
            self._correlated(outer, given.places)
        return given

    def _correlated(self, outer: Scope, places: set[int]) -> None:
        if places and outer.mixed:
            self._problems.append("a correlated sub-select of a distributed table beside what is not distributed")
        if places and outer.places:
            self._together.append((places, outer.places, f"a correlated sub-select that is not tied by {KEY}"))

    def _given(self, scope: Scope, targets: list[Node]) -> dict[str, int | None]:
        columns: dict[str, int | None] = {}
        for number, item in enumerate(targets):
            target = item["ResTarget"]
            place, name = self._meant(scope, target.get("val", {})), target.get("name")
            for reference in [target["val"]["ColumnRef"]] if "ColumnRef" in target.get("val", {}) else []:
                name = name or (strings(reference["fields"]) or [""])[-1]
                if any("A_Star" in part for part in reference["fields"]):
                    for source in scope.sources:
                        columns |= source.columns or {}
            columns[name or f"?{number}"] = place
        return columns

    def _insert(self, node: Node, outer: Scope | None) -> Source:
        table = self._known.get(node["relation"]["relname"])
        rows = node.get("selectStmt", {}).get("SelectStmt", {})
        given = self.statement("SelectStmt", rows) if rows else Source("", {}, set())
        if table is None or not table.distributed:
            return Source("", {}, set())
        conflict = node.get("onConflictClause", {})
        named = [column["ResTarget"]["name"] for column in node.get("cols", [])]
        if named and KEY not in named:
            self._problems.append(f"rows without {KEY}")
        if "valuesLists" not in rows:
            self._to_many = True
            if not conflict and not node.get("returningClause"):
                self._problems.append("rows that Citus would copy: say what it returns, or what a conflict means")
        keys = [item["IndexElem"].get("name") for item in conflict.get("infer", {}).get("indexElems", [])]
        if keys and KEY not in keys:
            self._problems.append(f"a conflict that is not about {KEY}")
        self._sets(conflict.get("targetList", []))
        return Source("", {}, given.places)

    def _change(self, node: Node, outer: Scope | None) -> Source:
        """An update or a delete."""
        scope = Scope(outer)
        self._from(scope, [{"RangeVar": node["relation"]}])
        target = scope.places
        self._from(scope, node.get("fromClause", node.get("usingClause", [])))
        self._where(scope, node.get("whereClause"))
        below = self._expressions(scope, [node.get("targetList"), node.get("returningClause")])
        table = self._known.get(node["relation"]["relname"])
        if table is not None and not target and (scope.places or below):
            self._problems.append("a change of a table that is everywhere from one that is distributed")
        if table is not None and table.distributed:
            self._sets(node.get("targetList", []))
        own = [_without_selects(node.get(part)) for part in ("targetList", "whereClause")]
        called = {strings(call["funcname"])[-1] for call in found(own, "FuncCall")}
        self._problems += [f"{name}() in a change, other on every node" for name in sorted(called & VOLATILE)]
        return Source("", {}, scope.places | below)

    def _sets(self, targets: list[Node]) -> None:
        if KEY in [target["ResTarget"]["name"] for target in targets]:
            self._problems.append(f"a change of {KEY}")

    # --- what is read

    def _from(self, scope: Scope, items: list[Node]) -> None:
        for item in items:
            ((kind, node),) = item.items()
            if kind == "JoinExpr":
                self._join(scope, node)
                continue
            source = self._source(scope, kind, node)
            if node.get("lateral") and source.distributed and scope.mixed:
                self._problems.append("a lateral sub-select of a distributed table beside what is not distributed")
            if source.places and scope.places:
                said = f"{source.alias} is joined without {KEY}"
                self._together.append((source.places, scope.places, said))
            scope.sources.append(source)

    def _join(self, scope: Scope, node: Node) -> None:
        self._from(scope, [node["larg"]])
        left = list(scope.sources)
        self._from(scope, [node["rarg"]])
        self._where(scope, node.get("quals"))
        if KEY in strings(node.get("usingClause", [])):
            sides = left, [source for source in scope.sources if source not in left]
            one, other = (self._of_sources(side, KEY) for side in sides)
            self._tie(one, other)

    def _source(self, scope: Scope, kind: str, node: Node) -> Source:
        alias = node.get("alias", {}).get("aliasname", node.get("relname", ""))
        if kind == "RangeVar":
            return self._table(node, alias)
        if kind == "RangeSubselect":
            source = self.statement(*next(iter(node["subquery"].items())), scope if node.get("lateral") else None)
            return Source(alias, source.columns, source.places)
        self._expressions(scope, [node])
        return Source(alias, None, set())

    def _table(self, node: Node, alias: str) -> Source:
        name = node["relname"]
        if "schemaname" not in node and name in self._common[-1]:
            source = self._common[-1][name]
            return Source(alias, source.columns, source.places)
        table = self._known.get(name)
        if table is None:
            if not (name.startswith("pg_") or name.endswith(("_seq", "_id", "schema_migrations"))):
                self._problems.append(f"there is no table {name}")
            return Source(alias, None, set())
        columns: dict[str, int | None] = dict.fromkeys(table.columns)
        if not table.distributed:
            return Source(alias, columns, set())
        columns[KEY] = place = self._place()
        return Source(alias, columns, {place})

    def _where(self, scope: Scope, condition: Node | None) -> None:
        for term in _terms(condition):
            equal = term.get("A_Expr", {})
            if equal.get("kind") == "AEXPR_OP" and strings(equal["name"]) == ["="]:
                sides = [equal.get("lexpr", {}), equal.get("rexpr", {})]
                one, other = (self._meant(scope, side) for side in sides)
                self._tie(one, other)
                for place, value in ((one, sides[1]), (other, sides[0])):
                    if place is not None and _is_value(value):
                        self._pinned.add(place)
        self._expressions(scope, [condition])

    def _expressions(self, scope: Scope, nodes: list[Node | None]) -> set[int]:
        """Look at every column and sub-select of expressions; the places below."""
        places: set[int] = set()
        for column in _columns(nodes):
            self._meant(scope, {"ColumnRef": column})
        for link in _outermost(nodes, "SubLink"):
            places |= self.statement(*next(iter(link["subselect"].items())), scope).places
            self._expressions(scope, [link.get("testexpr")])
        return places

    def _meant(self, scope: Scope, node: Node) -> int | None:
        """The place whose key this is."""
        if "ColumnRef" not in node:
            return None
        names = strings(node["ColumnRef"]["fields"])
        at: Scope | None = scope
        passed: list[Scope] = []
        while at is not None and names:
            of_name = [s for s in at.sources if len(names) == 1 or s.alias == names[-2]]
            known = any(names[-1] in (source.columns or {}) for source in of_name)
            if known or (of_name and len(names) > 1):
                for within in passed:
                    within.reached_out = True
                return self._of_sources(of_name, names[-1])
            passed.append(at)
            at = at.outer
        return None

    def _of_sources(self, sources: list[Source], column: str) -> int | None:
        return next((s.columns[column] for s in sources if s.columns is not None and column in s.columns), None)


def _terms(condition: Node | None) -> Iterator[Node]:
    """What has to be true, each on its own."""
    if condition and condition.get("BoolExpr", {}).get("boolop") == "AND_EXPR":
        for term in condition["BoolExpr"]["args"]:
            yield from _terms(term)
    elif condition:
        yield condition


def _is_value(node: Node) -> bool:
    return any(kind in node for kind in CONSTANTS) or ("TypeCast" in node and _is_value(node["TypeCast"]["arg"]))


def _outermost(node: object, kind: str) -> Iterator[Node]:
    """As `found`, but not within one another."""
    if isinstance(node, dict):
        for name, below in node.items():
            if name == kind:
                yield below
            else:
                yield from _outermost(below, kind)
    elif isinstance(node, list):
        for below in node:
            yield from _outermost(below, kind)


def _without_selects(node: object) -> object:
    if isinstance(node, dict):
        return {name: _without_selects(below) for name, below in node.items() if name != "SubLink"}
    return [_without_selects(below) for below in node] if isinstance(node, list) else node


def _columns(node: object) -> Iterator[Node]:
    yield from found(_without_selects(node), "ColumnRef")
