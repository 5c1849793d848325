"""What a page of numbers is, and how it answers: as a page, as CSV and as JSON, for an app and for a partner.

A page reads values, once, for a scope and a view. Its template shows them, and its tables are made of the same values,
so that what is exported is what is on the screen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import HEADERS, VIEWERS, Handler, NotFound, Page, Portal
from collector.portal.numbers.counted import counted
from collector.portal.numbers.document import document, file_name
from collector.portal.numbers.place import Place, place
from collector.portal.numbers.sheet import as_csv
from collector.portal.numbers.table import Table
from collector.portal.numbers.titles import TITLES
from collector.portal.reading import given, stores
from collector.portal.view import COMPARED, PERIODS, View, asked, offered
from collector.portal.words import COUNTED, FACETS, KINDS
from store import destinations
from store.database import Database
from store.registry import App
from store.rollups.stored import Scope

# The database is the log; for a page of the ledger it is that, None before the exporter's first run.
Read = Callable[[Any, Scope, View, Mapping[str, str]], Awaitable[Any]]


Told = Callable[[Any, "Asked"], Mapping[str, Any]]


VIEWS = frozenset({"period", "from", "to", "tz", "compare", "f", "table"})  # parameters that every page has


class Numbers(msgspec.Struct, frozen=True):
    """`name` is in the addresses and the template's name. `read` gives the page's values, from the log, a scope, a view
    and what else the address says; `more` are the names of the latter. It may raise NotFound. `told` is what the
    template needs besides `values`: pictures and sentences made of them. `choices` are what some of `more` may be: a
    page takes anything else for nothing, a program is told. `nature` is the database that is read. Where `in_utc` says
    so, days are those of UTC, whichever zone is asked for."""

    name: str
    read: Read
    tables: Callable[[Any], list[Table]]
    more: tuple[str, ...] = ()
    told: Told = lambda values, asked: {}
    choices: Mapping[str, Sequence[str]] = {}
    nature: Literal["log", "ledger"] = "log"
    in_utc: bool = False

    def __post_init__(self) -> None:
        if taken := VIEWS.intersection(self.more):
            raise ValueError(f"{', '.join(sorted(taken))}: every page of numbers has a parameter of this name")

    @property
    def title(self) -> str:
        return TITLES[self.name]

    def view(self, query: Mapping[str, str], filters: Sequence[str], now: int) -> View:
        """The view that an address asks for. A page in UTC has no filters, which are the rollups'."""
        if not self.in_utc:
            return asked(query, filters, now)
        return asked({name: value for name, value in query.items() if name != "tz"}, (), now)

    async def values(self, db: Database | None, scope: Scope, view: View, more: Mapping[str, str]) -> Any:
        """What `read` gives, all of one moment: numbers that are read one after the other agree. May raise NotFound."""
        if db is not None:
            await db.hold_still()
        return await self.read(db, scope, view, more)

    def zones(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """The zones to choose from."""
        return {"": [("UTC", "UTC")]} if self.in_utc else offered()


class NumbersPage(Page, frozen=True, kw_only=True):
    """An address of a page of numbers, and which it is."""

    numbers: Numbers


class Asked(msgspec.Struct, frozen=True):
    """What an address asks for, and the addresses of what is near: for templates."""

    name: str
    place: Place
    view: View
    more: Mapping[str, str]
    told: View | None = None  # what the address says, where the page does not go by all of it

    @property
    def kept(self) -> View:
        """What is taken along to other pages."""
        return self.told or self.view

    @property
    def scope(self) -> Scope:
        return self.place.scope(self.view.filters)

    def to(self, **changed: str | None) -> str:
        """This page with something of its address changed: see View.query."""
        return self._address(self.name, self.kept.query(**self._more() | changed))

    def fields(self) -> list[tuple[str, str]]:
        """This page's address as the fields of a form."""
        return [*self.kept.fields(), *((name, value) for name, value in self.more.items() if value)]

    def filtered(self, facet: str, value: str) -> str:
        """This page for who came under one value."""
        return self._address(self.name, self.kept.filtered(facet, value).query(**self._more()))

    def without(self, facet: str, value: str) -> str:
        """This page with one filter less."""
        return self._address(self.name, self.kept.without(facet, value).query(**self._more()))

    def unfiltered(self) -> str:
        """This page without filters."""
        return self._address(self.name, msgspec.structs.replace(self.kept, filters=()).query(**self._more()))

    def filtered_page(self, name: str, facet: str, value: str) -> str:
        """Another page of numbers for who came under one value."""
        return self._address(name, self.kept.filtered(facet, value).query())

    def page(self, name: str, **more: str) -> str:
        """Another page of numbers for the same time, with the same filters."""
        return self._address(name, self.kept.query(**more))

    def of(self, base: str) -> str:
        """The same page of another app, or of a partner, by where its pages are."""
        query = self.kept.query(**self._more())
        return f"{base}/{self.name}" + (f"?{query}" if query else "")

    def download(self, kind: str, **changed: str) -> str:
        return self._address(f"{self.name}.{kind}", self.kept.query(**self._more() | changed))

    def _more(self) -> dict[str, str | None]:
        return {name: value or None for name, value in self.more.items()}

    def _address(self, name: str, query: str) -> str:
        return f"{self.place.base}/{name}" + (f"?{query}" if query else "")


async def question(portal: Portal, request: Request, page: Numbers) -> Asked:
    """Raises NotFound."""
    query, filters, now = request.query_params, request.query_params.getlist("f"), portal.now()
    more = {name: given(request, name) for name in page.more}
    here = await place(portal, request)
    return Asked(page.name, here, page.view(query, filters, now), more, asked(query, filters, now))


async def values_of(portal: Portal, request: Request, page: Numbers, of: Asked) -> Any:
    """Raises NotFound and Unavailable."""
    async with stores(portal, request, with_ledger=page.nature == "ledger") as opened:
        return await page.values(getattr(opened, page.nature), of.scope, of.view, of.more)


def answers(page: Numbers) -> tuple[Handler, Handler, Handler]:
    """What answers for a page, its CSV and its JSON."""

    async def show(portal: Portal, request: Request) -> Response:
        of = await question(portal, request, page)
        values = await values_of(portal, request, page, of)
        told = {
            "asked": of,
            "app": of.place.app,
            "values": values,
            "tables": page.tables(values),
            "title": page.title,
            "counted": await counted(portal),
            "periods": PERIODS,
            "compared": COMPARED,
            "zones": page.zones(),
            "facet_names": FACETS,
            "keyless": await _keyless(portal, of.place),
            "kinds": KINDS,
            "counted_words": COUNTED,
            "snippet": portal.url("/js/footfall.js"),
        }
        return portal.page(request, f"{page.name}.html", told | dict(page.told(values, of)))

    async def csv(portal: Portal, request: Request) -> Response:
        of = await question(portal, request, page)
        tables = page.tables(await values_of(portal, request, page, of))
        table = _chosen(tables, given(request, "table"))
        name = file_name(of.place.key, page.name, of.view, "csv", "" if table is tables[0] else table.name)
        return _file(as_csv(table), "text/csv; charset=utf-8", name)

    async def json(portal: Portal, request: Request) -> Response:
        of = await question(portal, request, page)
        tables = page.tables(await values_of(portal, request, page, of))
        told = document(page.name, of.scope, of.view, of.more, await counted(portal), tables)
        return _file(msgspec.json.encode(told), "application/json", file_name(of.place.key, page.name, of.view, "json"))

    return show, csv, json


def _file(body: bytes, kind: str, name: str) -> Response:
    told = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=HEADERS | told)


async def _keyless(portal: Portal, of: Place) -> list[App]:
    """The apps whose events go nowhere."""
    live = await destinations.active(portal.registry, [app.app_key for app in of.apps])
    have = {destination.app_key for destination in live}
    return [app for app in of.apps if app.app_key not in have]


def _chosen(tables: Sequence[Table], name: str) -> Table:
    """The table that is asked for, the first when none is. Raises NotFound."""
    for table in tables:
        if name in ("", table.name):
            return table
    raise NotFound


def pages(page: Numbers) -> list[NumbersPage]:
    """Every address of a page of numbers."""
    show, csv, json = answers(page)
    return [
        each
        for base in ("/apps/{app_key}", "/partners/{partner_key}")
        for each in (
            NumbersPage(f"{base}/{page.name}", show, VIEWERS, numbers=page),
            NumbersPage(f"{base}/{page.name}.csv", csv, VIEWERS, numbers=page),
            NumbersPage(f"{base}/{page.name}.json", json, VIEWERS, numbers=page),
        )
    ]
