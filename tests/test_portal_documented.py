"""The reference of the portal is true: its table of pages and roles, its headers, its times."""

import re
from pathlib import Path

from collector.portal.frame import HEADERS
from collector.portal.pages import PAGES
from store.people import links, passwords, patience, second_factor, sessions, totp

TEXT = (Path(__file__).parents[1] / "docs" / "reference" / "portal.md").read_text()


def test_its_table_says_who_may_ask_for_each_page() -> None:
    told = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in TEXT.splitlines()
        if re.match(r"\| `[A-Z]+ /", line)
    ]
    roles = ("operator", "owner", "editor", "viewer")
    assert told == [
        [
            f"`{page.method} {page.path}`",
            *("yes" if page.access is None or role in page.access else "" for role in roles),
            "yes" if page.access is None else "",
            "yes" if page.proved else "",
        ]
        for page in PAGES
    ]


def test_its_headers_are_those_of_every_answer() -> None:
    assert dict(re.findall(r"^\| `([A-Z][\w-]+)` \| `(.+)` \|$", TEXT, re.MULTILINE)) == HEADERS


def test_its_numbers_are_the_codes() -> None:
    hours, days = sessions.IDLE_MS // 3_600_000, sessions.LONGEST_MS // 86_400_000
    text = " ".join(TEXT.split())
    assert f"It ends {hours} hours after it was last seen, {days} days after it began" in text
    assert f"Passwords have {passwords.SHORTEST} to {passwords.LONGEST} characters" in text
    assert f"for {links.VALID_SECONDS // 3_600} hours" in text
    assert f"counts for {sessions.PROVED_MS // 60_000} minutes" in text
    at_once = [most // patience.COST_MS for most in (patience.MOST_MS["account"], patience.MOST_MS["address"])]
    assert at_once == [5, 30]
    assert f"counted from wherever they come, {patience.MOST_MS['codes'] // patience.COST_MS} at once" in text
    assert f"one in {patience.COST_MS // 1_000} seconds" in text
    assert (second_factor.RECOVERY_CODES, totp.DIGITS, totp.STEP_MS) == (10, 6, 30_000)
