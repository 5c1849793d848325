"""The audit in the store: whose a line is, what a partner reads, what is no change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from portal_cast import House, email

from collector.portal.audit import ACTIONS
from store import audit, registry
from store.audit import Wanted
from store.database import Database
from store.people import roster, sessions

ROOT = Path(__file__).parents[1]


async def written(db: Database, action: str, subject: str) -> str | None:
    """Whose a line is that is written now."""
    async with db.transaction():
        await registry.note(db, 9, action, subject, "", "somebody")
    rows = await db.all("select partner_key from audit where at = 9 and action = ? and subject = ?", (action, subject))
    found: str | None = rows[0][0]
    return found


@pytest.mark.parametrize(
    ("action", "subject", "whose"),
    [
        ("app.set", "com.owner.charts", "owner"),
        ("replay.add", "com.stranger.notes", "stranger"),
        ("park.drop", "com.owner.boards", "owner"),
        ("resume", "com.owner.boards", "owner"),
        ("partner.add", "owner", "owner"),
        ("person.role", email("viewer"), "owner"),
        ("person.sign-in", email("operator"), None),
        ("person.role", "owner", None),
        ("app.set", email("viewer"), None),
        ("app.set", "owner", None),
        ("token.add", "owner/theirs", "owner"),
        ("token.add", "back-end", None),
        ("secret.rotate", "owner", None),
        ("", "owner", None),
    ],
)
def test_a_line_is_of_whose_thing_it_is_about(house: House, action: str, subject: str, whose: str | None) -> None:
    async def work(db: Database) -> str | None:
        await registry.add_token(db, 0, "theirs", frozenset({"read"}), partner_key="owner")
        return await written(db, action, subject)

    assert house.store(work) == whose


def test_a_token_that_is_gone_leaves_its_line_to_its_partner(house: House) -> None:
    async def work(db: Database) -> list[tuple[str, str]]:
        await registry.add_token(db, 0, "theirs", frozenset({"read"}), partner_key="owner")
        (token,) = await registry.tokens(db, "owner")
        await registry.revoke_token(db, 5, token, "somebody")
        return [(line.action, line.subject) for line in await audit.lines(db, Wanted(since=5), 9, "owner")]

    assert house.store(work)[-1:] == [("token.revoke", "owner/theirs")]


def test_that_somebody_signed_in_is_a_line_and_no_change(house: House) -> None:
    """Every collector would read all apps and tokens again."""

    async def work(db: Database) -> tuple[bool, bool, list[tuple[str, str]]]:
        before = await registry.version(db)
        await sessions.begin(db, 7, house.people["owner"], "", "", "password")
        signed_in = await registry.version(db)
        await roster.rename(db, 8, house.people["owner"], "O", "test")
        told = [(line.action, line.detail) for line in await audit.lines(db, Wanted(since=7, until=8), 9)]
        return before == signed_in, signed_in == await registry.version(db), told

    assert house.store(work) == (True, False, [("person.sign-in", "password")])


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(), ["4", "3", "2", "1", "0"]),
        (Wanted(person="a@x.example"), ["4", "2", "1"]),
        (Wanted(action="app.set"), ["3", "0"]),
        (Wanted(subject="com.owner.charts"), ["3", "0"]),
        (Wanted(since=102), ["4", "3", "2"]),
        (Wanted(until=102), ["1", "0"]),
        (Wanted(person="a@x.example", since=102, action="person.role"), ["4"]),
        (Wanted(person="nobody"), []),
        (Wanted(before="' or 1 = 1 --"), []),
    ],
)
def test_lines_are_found_by_who_what_of_which_and_when(house: House, wanted: Wanted, told: list[str]) -> None:
    made = [
        ("app.set", "com.owner.charts", "b@x.example"),
        ("person.role", "b@x.example", "a@x.example"),
        ("person.rename", "a@x.example", "a@x.example"),
        ("app.set", "com.owner.charts", "b@x.example"),
        ("person.role", "a@x.example", "b@x.example"),
    ]

    async def work(db: Database) -> list[str]:
        for n, (action, subject, actor) in enumerate(made):
            async with db.transaction():
                await registry.note(db, 100 + n, action, subject, str(n), actor)
        shown = await audit.lines(db, wanted, 99)
        return [line.detail for line in shown if line.detail.isdigit()]

    assert house.store(work) == told


def test_every_action_that_leaves_a_line_has_its_words() -> None:
    calls = re.compile(r"registry\.(?:audit|note)\(\s*db, now, f?\"([^\"]+)\"")
    sources = [path.read_text() for path in (ROOT / "store").rglob("*.py")]
    found = {action for source in sources for action in calls.findall(source)}
    assert len(found) > 20
    told = {action for action in found if "{" not in action}
    assert told <= ACTIONS.keys()
