"""Who is one: what merges, what never does, and that it depends on what was said and not on when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from subject_cast import Subjects, subjects_plainly

from store.subjects import graph
from store.subjects.graph import MOST_IDS, MOST_LINKS, Graph
from store.subjects.naming import Id, Named, is_somebody, links, node

KINDS = ("anonymous", "account", "user", "partner", "device", "SGID")


def ids(text: str) -> tuple[Id, ...]:
    """`a1` is an anonymous id, `u1` a user's; see LETTERS."""
    return tuple(Id(LETTERS[each[0]], each) for each in text.split())


LETTERS = {"a": "anonymous", "h": "account", "u": "user", "p": "partner", "d": "device", "s": "SGID"}


def told(*texts: str) -> list[Named]:
    """One event each; `u1=u2` says that both are one user."""
    found = []
    for text in texts:
        pair = next((each for each in text.split() if "=" in each), "").split("=")
        alias = (ids(pair[0])[0], ids(pair[1])[0]) if len(pair) == 2 else None
        found.append(Named(ids(text.replace("=", " ")), alias))
    return found


def subjects_of(events: Iterable[Named]) -> Subjects:
    found = Graph()
    for named in events:
        found.note(named, 1)
    by_subject = groupby(
        sorted(found.nodes, key=lambda each: found.nodes[each].subject), lambda each: found.nodes[each].subject
    )
    sets = [frozenset(subject) for _, subject in by_subject]
    return {each: subject for subject in sets for each in subject}


def together(subjects: Subjects) -> set[str]:
    """Each subject as its ids in order."""
    return {" ".join(sorted(each.id for each in subject)) for subject in subjects.values()}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["a1 h1"], {"a1 h1"}),
        (["a1 h1 p1", "p1 u1", "u1 d1 s1"], {"a1 d1 h1 p1 s1 u1"}),
        (["a1 h1", "a2 h1"], {"a1 a2 h1"}),
        # A family's tablet, whoever signs in on it, directly and over what is known of it.
        (["d1 u1", "d1 u2"], {"d1", "u1", "u2"}),
        (["a1 h1 p1", "a1 h2"], {"a1", "h1 p1", "h2"}),
        (["a1 u1", "a1 d1", "a2 u2", "a2 d1"], {"a1 u1", "a2 u2", "d1"}),
        (["a1 h1", "a1 u1", "a2 h2", "a2 u2", "a1 d1", "a2 d1"], {"a1 h1 u1", "a2 h2 u2", "d1"}),
        # A marketplace account that two users of the partner's share, and the other way round.
        (["a1 h1", "a1 u1", "a2 h1", "a2 u2"], {"a1 u1", "a2 u2", "h1"}),
        (["a1 h1", "a1 u1", "a2 h2", "a2 u1"], {"a1 h1", "a2 h2", "u1"}),
        # One user by two names, because the partner says so.
        (["d1 u1", "d1 u2", "a1 u1=u2"], {"a1 d1 u1 u2"}),
        (["a1 u1=u2", "d1 u1", "d1 u2", "d1 u3"], {"a1 u1 u2", "d1", "u3"}),
    ],
)  # fmt: skip
def test_who_is_one(events: list[str], expected: set[str]) -> None:
    assert together(subjects_of(told(*events))) == expected
    assert together(subjects_of(reversed(told(*events)))) == expected


def test_a_hard_coded_id_melts_nobody_into_anybody() -> None:
    strangers = [f"d{n} a{n} p0" for n in range(MOST_LINKS + 5)]
    assert together(subjects_of(told(*strangers))) == {"p0", *(f"a{n} d{n}" for n in range(MOST_LINKS + 5))}
    guests = [f"d{n} u0" for n in range(MOST_IDS + 5)] + ["d3 u3"]
    assert together(subjects_of(told(*guests))) == {
        "u0",
        "d3 u3",
        *(f"d{n}" for n in range(MOST_IDS + 5) if n != 3),
    }


def test_a_subject_never_has_more_ids_than_it_may() -> None:
    chain = [f"d{n} d{n + 1}" for n in range(3 * MOST_IDS)]
    found = subjects_of(told(*chain))
    assert max(len(subject) for subject in found.values()) == MOST_IDS
    assert len(found) == 3 * MOST_IDS + 1


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "null", "Undefined", " guest ", "[object Object]", "0000-0000", "x" * 201]
)
def test_what_software_fills_in_is_nobody(text: str) -> None:
    assert not is_somebody(text)


def test_an_id_is_the_same_whichever_column_it_came_in() -> None:
    assert node("partner", "ab" * 20) == node("anonymous", "ab" * 20) == Id("anonymous", "ab" * 20)
    assert node("anonymous", "their-own") == Id("partner", "their-own")
    assert node("idfa", "A6334005-9019") == Id("idfa", "a6334005-9019")
    assert list(links({"user": "1", "SGID": "2", "previous_id": "3"})) == [Id("link user", "1"), Id("SGID", "2")]


named_ids = some.builds(Id, some.sampled_from(KINDS), some.sampled_from("12345"))


@some.composite
def events(draw: some.DrawFn) -> list[Named]:
    found = []
    for several in draw(some.lists(some.lists(named_ids, min_size=2, max_size=4, unique=True), max_size=25)):
        users = [each for each in several if each.kind == "user"]
        alias = (users[0], users[1]) if len(users) > 1 and draw(some.booleans()) else None
        found.append(Named(tuple(several), alias))
    return found


def is_lawful(subjects: Subjects, told: Sequence[Named]) -> bool:
    """No two users of one kind are one, but by an alias."""
    aliased = {frozenset(named.alias) for named in told if named.alias}
    for subject in subjects.values():
        for kind in ("account", "user"):
            users = [each for each in subject if each.kind == kind]
            if len(users) > 1 and not any(set(users) & pair for pair in aliased):
                return False
    return True


@given(told=events(), order=some.randoms())
@settings(max_examples=400, deadline=None)
def test_subjects_are_what_a_plain_look_at_everything_finds_in_any_order(told: list[Named], order: object) -> None:
    expected = subjects_plainly(told)
    assert subjects_of(told) == expected
    order.shuffle(told)  # type: ignore[attr-defined]
    assert subjects_of(told) == expected
    assert is_lawful(expected, told)


@given(told=events())
@settings(max_examples=200, deadline=None)
def test_ids_of_too_many_are_the_same_in_any_order(told: list[Named]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "MOST_LINKS", 4)
        assert subjects_of(told) == subjects_of(reversed(told)) == subjects_plainly(told, most_links=4)


@given(told=events(), forgotten=some.sets(some.integers(0, 24)))
@settings(max_examples=200, deadline=None)
def test_what_is_forgotten_was_never_said(told: list[Named], forgotten: set[int]) -> None:
    kept = [named for at, named in enumerate(told) if at not in forgotten]
    pairs = {frozenset((a, b)) for named in kept for a in named.ids for b in named.ids if a != b}
    found = Graph()
    for named in told:
        found.note(named, 1)
    gone = {(a, b) for a in found.nodes for b in found.nodes[a].links if frozenset((a, b)) not in pairs}
    for each in gone:  # an alias is forgotten with its link alone
        assert frozenset(each) not in pairs
    found.cut(gone)
    left = {each: found.nodes[each].subject for each in found.nodes if found.nodes[each].links}
    told_again = Graph()
    aliases = {frozenset(named.alias) for named in told if named.alias}
    for pair in pairs:
        a, b = sorted(pair)
        told_again.note(Named((a, b), (a, b) if pair in aliases else None), 1)
    assert left == {each: told_again.nodes[each].subject for each in left}
