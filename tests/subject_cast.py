"""Who is one, told in the plainest way there is: of all that was named together, at once and from the beginning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from store.subjects.naming import Id, Named

Subjects = dict[Id, frozenset[Id]]


def union_find(ids: Iterable[Id], pairs: Iterable[tuple[Id, Id]]) -> dict[Id, Id]:
    """The same id for all that is joined."""
    parent = {each: each for each in ids}

    def root(each: Id) -> Id:
        while parent[each] != each:
            each = parent[each]
        return each

    for a, b in pairs:
        parent[root(a)] = root(b)
    return {each: root(each) for each in parent}


def sets(ids: Iterable[Id], pairs: Iterable[tuple[Id, Id]]) -> list[set[Id]]:
    found = defaultdict(set)
    for each, root in union_find(ids, pairs).items():
        found[root].add(each)
    return list(found.values())


def subjects_plainly(told: Iterable[Named], most_ids: int = 200, most_links: int = 20) -> Subjects:
    """Every id that was named with another, and all ids of its subject."""
    told = list(told)
    pairs = {pair for named in told for pair in combinations(named.ids, 2)}
    pairs |= {(b, a) for a, b in pairs}
    ids = {a for a, _ in pairs}
    near = {each: {b for a, b in pairs if a == each} for each in ids}
    users = {each for each in ids if each.kind in ("account", "user")}
    gone = {each for each in ids if len(near[each]) > (most_ids if each in users else most_links)}
    aliases = [named.alias for named in told if named.alias and not gone & set(named.alias)]
    one_user = union_find(users, aliases)

    def clash(some: Iterable[Id]) -> bool:
        return any(
            len({one_user[each] for each in some if each in users and each.kind == kind}) > 1
            for kind in ("account", "user")
        )

    shared = gone | {each for each in ids - users if clash(near[each] - gone)}
    left = ids - shared
    found: list[set[Id]] = [{each} for each in shared]

    def among(some: set[Id]) -> list[set[Id]]:
        return sets(some, [(a, b) for a, b in pairs if a in some and b in some])

    def split(part: set[Id]) -> list[set[Id]]:
        if not clash(part):
            return [part]
        of_kind = {kind: {one_user[each] for each in part & users if each.kind == kind} for kind in ("account", "user")}
        kind = "account" if len(of_kind["account"]) > 1 else "user"
        groups = []
        for user in of_kind[kind]:
            own = {each for each in part & users if each.kind == kind and one_user[each] == user}
            groups.append(own | {each for each in part - users if near[each] & own})
        rest = among(part - set().union(*groups))
        return groups + [smaller for each in rest for smaller in split(each)]

    for part in among(left):
        if not clash(part):
            found.append(part)
            continue
        between = {each for each in part - users if not near[each] & part & users}
        found += among(between)
        for smaller in among(part - between):
            found += split(smaller)
    return {each: frozenset(subject) for subject in found for each in subject}
