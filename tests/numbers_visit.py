"""Somebody at the pages of numbers after everything was counted: what a page says, and the tables behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from httpx2 import Response
from portal_cast import Browser, House, opened
from portal_visit import words
from pytest_socket import enable_socket
from rollup_cast import count

from store.event import NewRow

CHARTS, BOARDS, PARTNER = "/apps/com.owner.charts", "/apps/com.owner.boards", "/partners/owner"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


class Reader:
    """One person's browser."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def get(self, path: str) -> Response:
        return self.browser.get(path)

    def page(self, path: str) -> str:
        """A page's text, with its tags; it must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def read(self, path: str) -> str:
        """A page's words, without its tags; it must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return words(answer)

    def table(self, path: str, name: str) -> list[dict[str, Any]]:
        """The rows of one of a page's tables."""
        page, _, query = path.partition("?")
        rows: list[dict[str, Any]] = self.get(f"{page}.json?{query}").json()["tables"][name]
        return rows


@contextmanager
def reading(house: House, rows: Sequence[NewRow] = (), name: str = "owner") -> Iterator[Reader]:
    """A page is asked for after these were stored and counted."""
    enable_socket()  # a PostgreSQL that a Collector asks is behind one
    if rows:
        count(house.cast.where, rows)
    with opened(house, retention_days=3_650) as browser:
        yield Reader(browser.enter(name))
