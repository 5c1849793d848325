"""Events as the rollups' tests make them, and what all of them add up to, counted in the plainest way there is."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from store import log
from store.database import Database, Where
from store.engines import open_reader, open_writer
from store.entry import Entry
from store.event import Details, NewRow, encode_details
from store.rollups.counting import SLOT_MS
from store.rollups.facets import CLICK_IDS, HOSTING, UTM
from store.rollups.following import Follower
from store.rollups.journeys import BUCKETS, MOST_STEPS, SILENT_MS, TRAIL, Link, value_of

NOW = 1_780_000_000_000  # 2026-05-28T20:26:40Z
APPS = {"com.owner.charts": "owner", "com.owner.boards": "owner", "com.stranger.notes": "stranger"}
Counts = dict[tuple[str, str, str, int, str], tuple[int, frozenset[str]]]


def happened(name: str = "page_view", visitor: str = "a", at: int = NOW, **changed: Any) -> NewRow:
    """A row of the log; `visitor` is repeated to the length of an anonymous id."""
    app_key = changed.pop("app", "com.owner.charts")
    row = {
        "partner_key": APPS[app_key],
        "user_id": None,
        "partner_anonymous_id": None,
        "suppressed": None,
        "received_at": at,
        "type": "track",
        "source": "browser",
    } | {key: changed.pop(key) for key in list(changed) if key not in Details.__struct_fields__}
    details = encode_details(Details(**changed)).decode()
    return (
        app_key,
        uuid.uuid4().bytes,
        row["type"],
        name,
        row["source"],
        at,
        row["received_at"],
        row["partner_key"],
        (visitor * 40)[:40],
        row["user_id"],
        row["partner_anonymous_id"],
        row["suppressed"],
        details,
    )


def store(where: Where, rows: Sequence[NewRow]) -> None:
    """Into the log, in order."""

    async def stored() -> None:
        async with await open_writer(where, "log") as db:
            await log.commit(db, [Entry("test", NOW, list(rows), [], [])], Counter())

    asyncio.run(stored())


async def count_up(registry: Database, reader: Database, writer: Database, now: int = NOW) -> int:
    """Have everything counted; how many events were."""
    follower, n = Follower(registry, reader, writer), 0
    while counted := await follower.step(now):
        n += counted
        now += 1
    await writer.change("update rollups set taken_until = 0")
    return n


def count(where: Where, rows: Sequence[NewRow] = ()) -> int:
    """Store these, and have everything counted."""
    if rows:
        store(where, rows)

    async def counted() -> int:
        async with (
            await open_writer(where, "registry") as registry,
            await open_writer(where, "log") as writer,
            await open_reader(where, "log") as reader,
        ):
            return await count_up(registry, reader, writer)

    return asyncio.run(counted())


# --- the plain way


def counted_plainly(rows: Iterable[NewRow], told: Sequence[Details]) -> Counts:
    """What the rollups should say of these rows, whose details are `told`: by listing, facet, slot and value, how many
    events and whose."""
    events: Counter[tuple[str, str, str, int, str]] = Counter()
    visitors: dict[tuple[str, str, str, int, str], set[str]] = defaultdict(set)
    by_visitor: dict[tuple[str, str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for row, details in zip(rows, told, strict=True):
        app_key, _, kind, name, source, at, _, partner_key, anonymous_id, _, linked, suppressed, _ = row

        def add(
            facet: str, value: str, who: str | None, moment: int, of: tuple[str, str] = (app_key, partner_key)
        ) -> None:
            place = (*of, facet, moment // SLOT_MS, value)
            events[place] += 1
            visitors[place] |= {who} - {None}  # type: ignore[arg-type]

        if suppressed is not None:
            add("suppressed", suppressed, None, at)
            continue
        if source == "partner":
            add("call", kind, anonymous_id, at)
            if kind == "track":
                add("sent", name, anonymous_id, at)
            continue
        add("event", name, anonymous_id, at)
        step = name
        if name == "page_view":
            referrer = (details.referrer or "").partition("://")[2].partition("/")[0].removeprefix("www.")
            add("referrer", referrer, anonymous_id, at)
            if linked is not None:
                add("linked", "yes", anonymous_id, at)
            for key, value in (details.query or {}).items():
                if key in UTM or key == HOSTING:
                    if value:
                        add(key, value, anonymous_id, at)
                elif key not in CLICK_IDS:
                    add("query", f"{key}={value}", anonymous_id, at)
        if name in ("tab_click", "cta_click"):
            add(name.removesuffix("_click"), details.label or "", anonymous_id, at)
            step = f"{name}:{details.label or ''}"
        by_visitor[app_key, partner_key, anonymous_id].append((name, step, at))
    for (app_key, partner_key, anonymous_id), happenings in by_visitor.items():
        for journey in journeys(happenings):
            for facet, value, at in links(journey):
                place = (app_key, partner_key, facet, at // SLOT_MS, value)
                events[place] += 1
                visitors[place].add(anonymous_id)
    return {place: (n, frozenset(visitors[place])) for place, n in events.items()}


Happening = tuple[str, str, int]


def journeys(happenings: Sequence[Happening]) -> list[list[Happening]]:
    found: list[list[Happening]] = []
    latest = 0
    for name, step, at in happenings:
        if not found or found[-1][-1][0] == "install" or at - latest > SILENT_MS:
            found.append([])
            latest = at
        latest = max(latest, at)
        found[-1].append((name, step, at))
    return found


def links(journey: Sequence[Happening]) -> list[tuple[str, str, int]]:
    """(facet, value, moment) of everything that one journey counts under."""
    found = []
    begun = journey[0][2]
    path = [""]
    for _, step, _ in journey:
        if path[-1] != step:
            if len(path) <= MOST_STEPS:
                found.append(("next", value_of(Link(len(path) - 1, path[-1], step)), begun))
            path.append(step)
    done = set()
    viewed = None
    for at, (name, _, moment) in enumerate(journey):
        if name in ("cta_click", "app_request", "install") and viewed is not None and name not in done:
            took = moment - viewed
            found.append(("time", f"{name} {sum(took >= end for end in BUCKETS)}", moment))
        done.add(name)
        if name == "page_view" and viewed is None:
            viewed = moment
        if name == "install":
            before = [""]
            for _, step, _ in journey[:at]:
                if before[-1] != step:
                    before.append(step)
            back = ["install", *before[: -TRAIL - 1 : -1]]
            found += [("before", value_of(Link(k, back[k + 1], back[k])), moment) for k in range(len(back) - 1)]
    return found
