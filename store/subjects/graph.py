"""Who is one: a graph of ids that were named together, and how it falls into subjects. Pure: no database here.

What it comes to depends on the links alone and not on their order, but for one thing: a link that would join more ids
than a subject may have is not followed, and which link that is depends on which came first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from itertools import combinations

import msgspec

from store.subjects.naming import ACCOUNT, USER, USERS, Id, Named

MOST_IDS = 200  # of what hangs together, and so of a subject
MOST_LINKS = 20  # of an id with others; one with more is nobody's
SEVERAL, TOO_MANY = 1, 2  # why an id is shared, and so nobody's: named with several users, or with too many ids

Load = Callable[[Collection[Id]], None]


class Link(msgspec.Struct):
    """From one id to another: see the table."""

    alias: bool
    followed: bool
    day: int


class Node(msgspec.Struct):
    """An id: its links, whose it is, and whether it is nobody's; 0: it is not."""

    links: dict[Id, Link]
    subject: str = ""
    shared: int = 0


class Graph:
    """The part of one app's graph that is in memory. `load` puts nodes that are asked for into `nodes`; what changed
    is in `changed_links` and `changed_ids`, and `removed_links` is what is there no more."""

    def __init__(self, load: Load = lambda ids: None) -> None:
        self.nodes: dict[Id, Node] = {}
        self.changed_links: set[tuple[Id, Id]] = set()
        self.changed_ids: set[Id] = set()
        self.removed_links: set[tuple[Id, Id]] = set()
        self._load = load

    def load(self, ids: Iterable[Id]) -> None:
        """Have these nodes in memory."""
        missing = list(dict.fromkeys(each for each in ids if each not in self.nodes))
        if missing:
            self._load(missing)
            for each in missing:
                self.nodes.setdefault(each, Node({}))

    def is_new(self, named: Named) -> bool:
        """Whether an event, whose ids are loaded, tells of a link that is not there."""
        return any(self._is_unknown(a, b, named) for a, b in combinations(named.ids, 2))

    def note(self, named: Named, day: int) -> None:
        """What one event named together, on a day since the epoch."""
        self.load(named.ids)
        new = []
        for a, b in combinations(named.ids, 2):
            if self._is_unknown(a, b, named):
                new.append((a, b))
                self._join(a, b, {a, b} == set(named.alias or ()), day)
            else:
                self._see(a, b, day)
        if new:
            self._settle(new)

    def cut(self, pairs: Collection[tuple[Id, Id]]) -> None:
        """Forget links. An id of too many stays what it is."""
        touched = {each for pair in pairs for each in pair}
        self.load(touched)
        affected = set(touched)
        for each in touched:
            affected |= self._class(each) if each.kind in USERS else set()
        for each in list(affected):
            affected |= self.nodes[each].links.keys()
        for pair in pairs:
            for a, b in (pair, pair[::-1]):
                if self.nodes[a].links.pop(b, None) is not None:
                    self.removed_links.add((a, b))
                    self.changed_links.discard((a, b))
        affected |= self._judged(affected)
        self._assign(affected, self._parts(affected))

    # --- links

    def _is_unknown(self, a: Id, b: Id, named: Named) -> bool:
        link = self._link(a, b)
        if link is None:
            return not self._is_of_too_many(a) or not self._is_of_too_many(b)
        return not link.alias and {a, b} == set(named.alias or ())

    def _link(self, a: Id, b: Id) -> Link | None:
        return self.nodes[a].links.get(b) or self.nodes[b].links.get(a)

    def _is_of_too_many(self, each: Id) -> bool:
        return self.nodes[each].shared == TOO_MANY

    def _join(self, a: Id, b: Id, alias: bool, day: int) -> None:
        for one, other in ((a, b), (b, a)):
            if not self._is_of_too_many(one):  # its own links say nothing any more
                self.nodes[one].links[other] = Link(alias, True, day)
                self.changed_links.add((one, other))

    def _see(self, a: Id, b: Id, day: int) -> None:
        for one, other in ((a, b), (b, a)):
            link = self.nodes[one].links.get(other)
            if link is not None and link.day < day:
                link.day = day
                self.changed_links.add((one, other))

    # --- what follows from new links

    def _settle(self, new: Collection[tuple[Id, Id]]) -> None:
        touched = {each for pair in new for each in pair}
        affected = touched | self._judged(touched)
        parts = self._parts(affected)
        if any(len(part) > MOST_IDS for part in parts):
            for a, b in new:
                self._refuse(a, b)
            affected |= self._judged(touched)
            parts = self._parts(affected)
        self._assign(affected, parts)

    def _refuse(self, a: Id, b: Id) -> None:
        for one, other in ((a, b), (b, a)):
            if (link := self.nodes[one].links.get(other)) is not None:
                link.followed = False

    def _judged(self, touched: Collection[Id]) -> set[Id]:
        """Judge anew who is shared, of these and of whom they have a say in; all whose subject may be another now."""
        affected = set(touched)
        users = {each for each in touched if each.kind in USERS}
        for user in users:
            if self.nodes[user].shared != TOO_MANY and len(self.nodes[user].links) > MOST_IDS:
                self._mark(user, TOO_MANY)
                affected |= self.nodes[user].links.keys()
        aliased = {user for user in users if any(link.alias for link in self.nodes[user].links.values())}
        for user in {one for each in aliased for one in self._class(each)}:
            affected |= self.nodes[user].links.keys() | {user}
        self.load(affected)
        self.load(other for each in affected for other in self.nodes[each].links if other.kind in USERS)
        for each in [each for each in affected if each.kind not in USERS]:
            shared = self._shared(each)
            if shared != self.nodes[each].shared:
                self._mark(each, shared)
                affected |= self.nodes[each].links.keys()
        return affected

    def _mark(self, each: Id, shared: int) -> None:
        self.nodes[each].shared = shared
        self.changed_ids.add(each)

    def _shared(self, each: Id) -> int:
        """What is true of an id that is no user's."""
        node = self.nodes[each]
        if node.shared == TOO_MANY or len(node.links) > MOST_LINKS:
            return TOO_MANY
        for kind in USERS:
            users = [other for other in node.links if other.kind == kind and not self._is_of_too_many(other)]
            if len({min(self._class(user)) for user in users}) > 1:
                return SEVERAL
        return 0

    def _class(self, user: Id) -> set[Id]:
        """All user ids of which it was said that they are this one's."""
        found, ahead = {user}, [user]
        while ahead:
            node = self.nodes[ahead.pop()]
            further = {other for other, link in node.links.items() if link.alias and link.followed} - found
            self.load(further)
            further = {other for other in further if not self._is_of_too_many(other)}
            found |= further
            ahead += further
        return found

    def _parts(self, begin: Collection[Id]) -> list[set[Id]]:
        """What hangs together with each of these ids by links that are followed, over ids that are somebody's."""
        parts: list[set[Id]] = []
        seen: set[Id] = set()
        self.load(begin)
        for each in begin:
            if each not in seen and not self.nodes[each].shared:
                parts.append(self._part(each))
                seen |= parts[-1]
        return parts

    def _part(self, begin: Id) -> set[Id]:
        found, ahead = {begin}, {begin}
        while ahead:
            further = set().union(*map(self._followed, ahead)) - found
            self.load(further)
            ahead = {each for each in further if not self.nodes[each].shared}
            found |= ahead
        return found

    def _followed(self, each: Id) -> set[Id]:
        return {other for other, link in self.nodes[each].links.items() if link.followed}

    def _assign(self, affected: Collection[Id], parts: Collection[set[Id]]) -> None:
        for part in parts:
            users = {each: min(self._class(each)) for each in part if each.kind in USERS}
            near = {each: self._followed(each) & part for each in part}
            for subject in subjects(part, near, users):
                self._call(subject, label(subject))
        for each in affected:
            if self.nodes[each].shared:
                self._call({each}, label({each}))

    def _call(self, ids: Collection[Id], subject: str) -> None:
        for each in ids:
            if self.nodes[each].subject != subject:
                self.nodes[each].subject = subject
                self.changed_ids.add(each)


def label(subject: Collection[Id]) -> str:
    """The same for the same set of ids, whoever finds it."""
    kind, text = min(subject)
    return hashlib.blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def subjects(part: set[Id], near: dict[Id, set[Id]], users: dict[Id, Id]) -> list[set[Id]]:
    """How ids that hang together fall into subjects, none of which has two users of one kind. `near` is what each is
    linked with; `users` are the user ids among them, each with the one that stands for all its aliases.

    As a whole, if that will do; else without the ids that were never named with a user, which led from one to the
    other; else each user with what was named with it.
    """
    if _is_one(part, users):
        return [part]
    go_betweens = {each for each in part if each not in users and not near[each] & users.keys()}
    found = _joined(go_betweens, near)
    for smaller in _joined(part - go_betweens, near):
        found += [smaller] if _is_one(smaller, users) else _around_users(smaller, near, users)
    return found


def _is_one(part: Collection[Id], users: dict[Id, Id]) -> bool:
    return all(len({users[each] for each in part if each.kind == kind}) <= 1 for kind in USERS)


def _around_users(part: set[Id], near: dict[Id, set[Id]], users: dict[Id, Id]) -> list[set[Id]]:
    found: list[set[Id]] = []
    left = set(part)
    for kind in (ACCOUNT, USER):
        several = {users[each] for each in left if each.kind == kind}
        if len(several) > 1:
            for user in sorted(several):
                own = {each for each in left if each.kind == kind and users[each] == user}
                own |= {other for each in own for other in near[each] if other in left and other not in users}
                found.append(own)
                left -= own
    return found + [smaller for rest in _joined(left, near) for smaller in _settled(rest, near, users)]


def _settled(part: set[Id], near: dict[Id, set[Id]], users: dict[Id, Id]) -> list[set[Id]]:
    return [part] if _is_one(part, users) else _around_users(part, near, users)


def _joined(ids: set[Id], near: dict[Id, set[Id]]) -> list[set[Id]]:
    """What of these ids hangs together."""
    parts = []
    left = set(ids)
    while left:
        ahead = {left.pop()}
        part = set(ahead)
        while ahead:
            ahead = {other for each in ahead for other in near[each] & left}
            left -= ahead
            part |= ahead
        parts.append(part)
    return parts
