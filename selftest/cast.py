"""Who takes part: apps of several partners in both regions, where their events go, and under which ids."""

from __future__ import annotations

import asyncio
import time
import uuid

import msgspec

from store import destinations, registry
from store.database import Where
from store.engines import migrate_all, open_writer
from store.secrets import Vault

PARTNERS = {"heron": "1211971", "rook": "1213333", "wren": "1214444"}
SCOPES = frozenset({"installs", "app-requests", "uninstalls"})


class Place(msgspec.Struct, frozen=True):
    """A destination of an app. One that is `broken` refuses everything from beginning to end."""

    app: str
    name: str
    region: str
    write_key: str
    uninstalls: bool = False
    broken: bool = False
    destination_id: str = ""

    def message_id(self, event_id: str) -> str:
        """Under which id an event is to arrive here; made here anew, so as not to believe the exporter's word."""
        return str(uuid.uuid5(uuid.UUID(self.destination_id), event_id))


PLACES = (
    Place("com.heron.charts", "main", "us", "SELFTESTKEYOFHERONSCHARTS0000001"),
    Place("com.heron.boards", "main", "eu", "SELFTESTKEYOFHERONSBOARDS0000002"),
    Place("com.rook.notes", "main", "us", "SELFTESTKEYOFROOKSNOTES000000003"),
    Place("com.rook.timers", "main", "eu", "SELFTESTKEYOFROOKSTIMERS00000004", uninstalls=True),
    Place("com.wren.forms", "main", "us", "SELFTESTKEYOFWRENSFORMS000000005"),
    Place("com.wren.forms", "warehouse", "eu", "SELFTESTKEYOFWRENSWAREHOUSE00006"),
    Place("com.wren.polls", "main", "us", "SELFTESTKEYOFWRENSPOLLS000000007", broken=True),
)
APPS = tuple(dict.fromkeys(place.app for place in PLACES))


class Cast(msgspec.Struct, frozen=True):
    """The places as they were set up, and a token for the back end's doors."""

    places: list[Place]
    token: str


def set_up(where: Where, secret_key: str) -> Cast:
    """Fill the registry of an empty data directory, or of an empty database on a server."""
    return asyncio.run(_set_up(where, Vault(secret_key), time.time_ns() // 1_000_000))


async def _set_up(where: Where, vault: Vault, now: int) -> Cast:
    places = []
    await migrate_all(where)
    async with await open_writer(where, "registry") as db:
        for key, partner_id in PARTNERS.items():
            await registry.add_partner(db, now, key, partner_id, key.title())
        for number, app in enumerate(APPS):
            await registry.add_app(db, now, app, app.split(".")[1], str(1_219_000 + number), app)
        for place in PLACES:
            change = destinations.Change(
                segment_write_key=place.write_key, region=place.region, uninstalls=place.uninstalls
            )
            made = await destinations.set_destination(db, vault, now, place.app, change, 0, place.name)
            places.append(msgspec.structs.replace(place, destination_id=made.destination_id))
        token = await registry.add_token(db, now, "self-test", SCOPES)
    return Cast(places, token)


def resume(where: Where, places: list[Place]) -> None:
    """Have the next run try these places again, paused or not, as `footfall app resume` does."""

    async def work() -> None:
        now = time.time_ns() // 1_000_000
        async with await open_writer(where, "registry") as db:
            for place in places:
                await destinations.ask(db, now, place.app, place.destination_id, "resume", [0])

    asyncio.run(work())
