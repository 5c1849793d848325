"""The pages of an app on a server, where the database itself shows nothing of other partners."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from shipping_cast import KEYS, OWNER, SECRET_KEY, STRANGER, Silence, an_event
from starlette.testclient import TestClient

from collector.app import Collector
from exporter.run import run_once
from store import destinations, log, registry
from store.database import Server
from store.destinations import Change
from store.engines import migrate_all, open_writer
from store.entry import Entry
from store.event import encode_details
from store.people import roster, sessions
from store.secrets import Vault
from store.settings import Settings
from wire.verdict import Reply

URL = "http://portal.example"
PAGES = [
    "details",
    "details/destination",
    "live",
    "live?q=crm-1",
    "live?event=install",
    "live?q=99e491a1-d2c7-4b68-ab97-cc7c3497e011",
    "live?q=a%00b",
    "live/news?after=2",
    "events/1",
    "deliveries",
    "deliveries?outcome=accepted&run=%00",
    "deliveries/parked",
    "deliveries/replays?from=2020-01-01&destination=main",
    "deliveries/receipts",
]


async def fill(server: Server) -> dict[str, str]:
    """Two partners with an app and three events each; a session of everybody's, by who they are."""
    await migrate_all(server)
    now = time.time_ns() // 1_000_000
    tokens = {}
    async with await open_writer(server, "registry") as db:
        for number, (partner, app) in enumerate((("owner", OWNER), ("stranger", STRANGER))):
            await registry.add_partner(db, now, partner, f"12{number}", partner)
            await registry.add_app(db, now, app, partner, f"34{number}", partner)
            change = Change(segment_write_key=KEYS[app])
            await destinations.set_destination(db, Vault(SECRET_KEY), now, app, change, 0)
            who = await roster.add(db, now, f"{partner}@x.example", "", "owner", partner, "a test")
            tokens[partner] = await sessions.begin(db, now, who, "", "")
        who = await roster.add(db, now, "operator@x.example", "", "operator", None, "a test")
        tokens["operator"] = await sessions.begin(db, now, who, "", "")
    rows = []
    for app, partner in ((OWNER, "owner"), (STRANGER, "stranger")):
        for name in ("page_view", "install", "strange"):
            fresh = an_event(name, app_key=app, partner_key=partner, received_at=now, partner_anonymous_id="crm-1")
            told = msgspec.structs.astuple(fresh)[1:-1]
            rows.append((told[0], uuid.uuid4().bytes, *told[2:], encode_details(fresh.details).decode()))
    async with await open_writer(server, "log") as db:
        await log.commit(db, [Entry("test", now, rows, [], [])], Counter())
    return tokens


@pytest.fixture
def served(postgres_url: str, tmp_path: Path) -> Iterator[tuple[TestClient, dict[str, str], Settings]]:
    tokens = asyncio.run(fill(Server(postgres_url)))
    settings = Settings(data_dir=tmp_path, secret_key=SECRET_KEY, database_url=postgres_url, public_url=URL)
    with TestClient(Collector(settings), base_url=URL, follow_redirects=False) as client:
        yield client, tokens, settings


def accepted(*_: object) -> Reply:
    return Reply(200, '{"success": true}')


def test_every_page_is_there_for_its_owner_and_for_nobody_elses(
    served: tuple[TestClient, dict[str, str], Settings],
) -> None:
    client, tokens, settings = served
    for run in range(2):
        for who, status in (("owner", 200), ("operator", 200), ("stranger", 404)):
            client.cookies.set("footfall", tokens[who])
            answers = {page: client.get(f"/apps/{OWNER}/{page}").status_code for page in PAGES}
            assert answers == dict.fromkeys(PAGES, status), (who, run)
        asyncio.run(run_once(settings, Silence(), asyncio.Event(), send=accepted))
    client.cookies.set("footfall", tokens["owner"])
    page = client.get(f"/apps/{OWNER}/deliveries").text
    assert 'aria-label="3 collected: 2 accepted, 0 pending, 1 parked, 0 suppressed, 0 expired"' in page
    assert len(re.findall("data-seq=", client.get(f"/apps/{OWNER}/live?q=crm-1").text)) == 3


def test_what_is_asked_for_is_done_by_the_next_run(served: tuple[TestClient, dict[str, str], Settings]) -> None:
    client, tokens, settings = served
    asyncio.run(run_once(settings, Silence(), asyncio.Event(), send=accepted))
    client.cookies.set("footfall", tokens["owner"])
    path = f"/apps/{OWNER}/deliveries/parked"
    (course,) = set(re.findall(r'name="course" value="([^"]+)"', client.get(path).text))
    assert client.post(path, data={"course": course, "all": "1", "action": "drop"}).status_code == 303
    asyncio.run(run_once(settings, Silence(), asyncio.Event(), send=accepted))
    assert "Nothing is parked" in client.get(path).text
