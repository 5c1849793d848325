"""The log and the ledger for one page: lent to it for the partner of the one who asks, until the page is made.

On a server the database itself then shows nothing of other partners; on one machine the pages' own questions, each of
which names an app that was found for that partner, are the wall.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.requests import Request

from collector.portal.frame import Portal, who
from store.database import Database


class Stores(NamedTuple):
    """`ledger` is None before the exporter's first run, and for a page that has no need of it."""

    log: Database
    ledger: Database | None


def given(request: Request, name: str, most: int = 200) -> str:
    """A text from the address; '' for one that is too long, or that no database would take."""
    text = request.query_params.get(name, "").strip()
    return text if len(text) <= most and text.isprintable() else ""


@asynccontextmanager
async def stores(portal: Portal, request: Request, with_ledger: bool = True) -> AsyncIterator[Stores]:
    """Raises Unavailable."""
    natures = ("log", "ledger") if with_ledger else ("log",)
    async with portal.readers.lend(*natures, partner_key=who(request).partner_key) as lent:
        yield Stores(lent["log"], lent.get("ledger"))


@asynccontextmanager
async def runs(portal: Portal) -> AsyncIterator[Database | None]:
    """The ledger for what names no partner: when runs were, and which intents are carried out."""
    async with portal.readers.lend("ledger") as lent:
        yield lent.get("ledger")


@asynccontextmanager
async def everybodys(portal: Portal) -> AsyncIterator[Database]:
    """The log for what names no partner: how far it goes, and how much of it is counted. Raises Unavailable."""
    async with portal.readers.lend("log") as lent:
        yield lent["log"]
