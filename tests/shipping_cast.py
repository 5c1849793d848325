"""One installation for the tests of the exporter: an owner's app, a stranger's app, and Segment for both.

Events go into a real log, runs are real runs over real databases; Segment is the fake one, in this process. It answers
through the same callable that the socket stands behind in production, so a test that needs an answer which no server in
this process can give (nobody listens, the line is cut) says it with `replies`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from engines import Stores, environment, look
from starlette.testclient import TestClient

from exporter.fake_segment.app import create_app
from exporter.report import Report, Voice
from exporter.run import run_once
from exporter.work import Send
from store import balance, destinations, log, parking, registry
from store.database import Database, Server, Where
from store.destinations import Change, Destination
from store.engines import open_reader, open_writer
from store.entry import Entry
from store.event import Details, Event, encode_details
from store.registry import App
from store.secrets import Vault
from store.settings import Settings
from wire.segment import ANSWER_SECONDS
from wire.verdict import Reply, retry_after

OWNER, STRANGER = "com.owner.charts", "com.stranger.notes"
KEYS = {OWNER: "WRITEKEYOFTHEOWNERSCHARTS0000001", STRANGER: "WRITEKEYOFTHESTRANGERSNOTES00003"}
SECRET_KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"  # noqa: S105 - of tests only
NOON = 1_771_243_200_123  # 2026-02-16T12:00:00.123Z
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
ACCOUNT = "0efffdf9a0db5f80d0927f9c0d269e8089c72df8"

VIEW = Details(
    url="https://market.example/apps/1219125/charts?hosting=cloud&tab=overview",
    query={"hosting": "cloud", "tab": "overview"},
    referrer="https://www.google.com/",
    title="Charts | Marketplace",
)


def an_event(name: str = "page_view", details: Details | None = None, seq: int = 1, **fields: Any) -> Event:
    """An event of the owner's app, collected for the owner; by default a page view by a known visitor."""
    if details is None:
        details = VIEW if name in ("page_view", "tab_click", "cta_click") else Details()
    told: dict[str, Any] = {
        "app_key": OWNER,
        "message_id": uuid.UUID(int=seq, version=4).bytes,
        "type": "track",
        "source": "browser",
        "occurred_at": NOON,
        "received_at": NOON + 40,
        "partner_key": "owner",
        "anonymous_id": VISITOR,
        "user_id": None,
        "partner_anonymous_id": None,
        "suppressed": None,
    }
    told |= fields
    if isinstance(told["message_id"], bytes):
        told["message_id"] = told["message_id"].hex()
    return Event(seq=seq, name=name, details=details, **told)


def an_app(**fields: Any) -> App:
    told = {"app_key": OWNER, "partner_key": "owner", "partner_id": "1211971", "plugin_id": "1219125"}
    return App(**{**told, "name": "Charts", "guid": "guid", "ingest_key": "ingest", **fields})


def a_destination(**fields: Any) -> Destination:
    told: dict[str, Any] = {"app_key": OWNER, "destination_id": "6f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061"}
    told |= {"name": "main", "region": "us", "url": "", "profile": "mpac", "uninstalls": False, "active": True}
    told |= {"segment_write_key": b"", "write_key_last4": "", "write_key_fingerprint": "", "start_seq": 0}
    return Destination(**{**told, "verified_at": None, "code_hash": "", "code_sent_at": 0, **fields})


async def the_installation(where: Where) -> None:
    """Fill a store; there is no ledger yet where a ledger is made by its first run."""
    async with await open_writer(where, "registry") as db:
        await registry.add_partner(db, NOON, "owner", "1211971", "Owner")
        await registry.add_partner(db, NOON, "stranger", "1213333", "Stranger")
        await registry.add_app(db, NOON, OWNER, "owner", "1219125", "Charts")
        await registry.add_app(db, NOON, STRANGER, "stranger", "1219127", "Notes")
        for app, key in KEYS.items():
            await _set(db, app, segment_write_key=key)
    async with await open_writer(where, "log"):
        pass


async def _set(db: Database, app: str, start: int = 0, **change: Any) -> None:
    await destinations.set_destination(db, Vault(SECRET_KEY), NOON, app, Change(**change), start)


class Silence(Voice):
    """A run that is listened to by a test: what it would have written, as (what, fields)."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[tuple[str, dict[str, Any]]] = []

    def note(self, what: str, **fields: Any) -> None:
        self.said.append((what, fields))


class Installation:
    """A store with an owner and a stranger, each with one app that has a write key.

    `sent` is every request that any run made: (host, key, messages).
    """

    def __init__(self, stores: Stores, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.where = stores.new(data_dir, the_installation)
        self.settings = Settings(
            retention_days=3_660,
            data_dir=data_dir,
            database_url=self.where.url if isinstance(self.where, Server) else None,
            secret_key=SECRET_KEY,
            segment_url_us="http://testserver",
            segment_url_eu="http://testserver/eu",
        )
        self.segment = TestClient(create_app(), follow_redirects=False)
        self.sent: list[tuple[str, str, list[bytes]]] = []
        self.waits: list[float] = []  # how long an answer to each was waited for
        self.voice = Silence()
        self.stop = asyncio.Event()
        self._made = 0
        self._lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """What a command finds it by."""
        return environment(self.data_dir, self.where) | {"FOOTFALL_SECRET_KEY": SECRET_KEY}

    def set(self, app: str, start: int = 0, **change: Any) -> None:
        """As `footfall app set` does; a new destination begins after seq `start`."""

        async def change_it() -> None:
            async with await open_writer(self.where, "registry") as db:
                await _set(db, app, start, **change)

        asyncio.run(change_it())

    def add_apps(self, count: int, with_keys: bool = True) -> list[str]:
        """More apps of the owner's, each with a key of its own if they are to have any."""
        keys = [f"com.owner.app{number:02}" for number in range(count)]

        async def add() -> None:
            async with await open_writer(self.where, "registry") as db:
                for number, key in enumerate(keys):
                    await registry.add_app(db, NOON, key, "owner", f"77{number:04}", key)
                    if with_keys:
                        await _set(db, key, segment_write_key=f"WRITEKEYOF{key}")

        asyncio.run(add())
        return keys

    def collect(self, *events: Event, app: str = OWNER) -> list[str]:
        """Store events of one app, each under a fresh id; the ids, as text."""
        ids, entry = self.arrived(*events, app=app)

        async def store() -> None:
            async with await open_writer(self.where, "log") as db:
                done = await log.commit(db, [entry], Counter())
                assert not done.duplicates
                assert not done.unstorable

        asyncio.run(store())
        return ids

    def arrived(self, *events: Event, app: str = OWNER) -> tuple[list[str], Entry]:
        """Events of one app as they come to be stored, each under a fresh id; the ids, as text."""
        partner = "stranger" if app == STRANGER else "owner"
        ids, rows = [], []
        for event in events:
            self._made += 1
            ids.append(str(uuid.UUID(int=self._made, version=4)))
            owned = event.partner_key if event.partner_key != "owner" else partner
            fresh = {"app_key": app, "message_id": uuid.UUID(ids[-1]).bytes, "partner_key": owned}
            told = msgspec.structs.astuple(msgspec.structs.replace(event, **fresh))[1:-1]
            rows.append((*told, encode_details(event.details).decode()))
        return ids, Entry("test", NOON, rows, [], [])

    def views(self, count: int, app: str = OWNER, details: Details | None = None) -> list[str]:
        """Store page views."""
        return self.collect(*[an_event(details=details)] * count, app=app)

    def send(
        self, host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = ANSWER_SECONDS
    ) -> Reply:
        """As segment.send, to the fake in this process."""
        with self._lock:
            self.waits.append(seconds)
            self.sent.append((host, write_key, list(messages)))
            envelope = json.dumps({"sentAt": "2026-02-16T13:00:00.000+00:00", "writeKey": write_key}).encode()
            body = b'{"batch": [' + b",".join(messages) + b"]," + envelope[1:]
            try:
                answer = self.segment.post(f"{host}/v1/batch", content=body)
            except ConnectionResetError:
                return Reply(error="ConnectionError")
            asked = retry_after(answer.headers.get("Retry-After", ""), time.time())
            return Reply(answer.status_code, answer.text.strip(), retry_after=asked)

    def replies(self, *replies: Reply) -> Send:
        """Answers in this order, then the fake's; a request that is answered so reaches nobody."""
        left = list(replies)

        def send(
            host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = ANSWER_SECONDS
        ) -> Reply:
            with self._lock:
                if left:
                    self.waits.append(seconds)
                    self.sent.append((host, write_key, list(messages)))
                    return left.pop(0)
            return self.send(host, write_key, messages, attempt, seconds)

        return send

    def fault(self, **fault: Any) -> None:
        answer = self.segment.post("/_/fault", json=fault)
        assert answer.status_code == 200, answer.text

    def mend(self) -> None:
        self.segment.delete("/_/faults")

    def export(self, **options: Any) -> Report:
        """One run, until its end."""
        options = {"send": self.send} | options
        return asyncio.run(run_once(self.settings, self.voice, asyncio.Event(), **options))

    def landed(self, app: str = OWNER) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.segment.get(
            f"/_/received?writeKey={KEYS.get(app, f'WRITEKEYOF{app}')}"
        ).json()
        return messages

    def ledger(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read, or change behind the exporter's back, what is on disk."""
        return look(self.where, "ledger", sql, *values)

    def batches(self) -> list[tuple[Any, ...]]:
        """Every attempt as (outcome, status, messages), oldest first."""
        return self.ledger("select outcome, status, events from batches order by batch_id")

    def cursor(self, app: str = OWNER) -> int:
        return int(self.ledger(f"select seq from cursors where app_key = '{app}'")[0][0])

    def balanced(self) -> balance.Findings:
        """Every sum, each of which must hold."""
        findings = asyncio.run(balance.examine(self.where))
        assert findings.balanced, findings.lines()
        return findings

    def owed(self, app: str = OWNER) -> dict[str, Any]:
        """The terms of the app's balance, which must hold."""
        found = next(item for item in self.balanced().destinations if item.app == app)
        names = ("collected", "accepted", "pending", "parked", "suppressed", "expired")
        return {name: getattr(found, name) for name in names if getattr(found, name)}

    def replay(self, app: str, first: int, last: int, new_ids: bool = False) -> str:
        """Ask for an app's events past `first` up to `last` once more."""

        async def add() -> str:
            async with await open_writer(self.where, "registry") as db:
                to = await destinations.named(db, app, destinations.MAIN)
                return await destinations.add_replay(db, NOON, to, first, last, new_ids)

        return asyncio.run(add())

    def parked(self, app: str) -> list[parking.Parked]:
        return asyncio.run(parking.parked(self.where, app))

    def ask(self, app: str, action: destinations.Action, *seqs: int) -> None:
        """Ask for these parked events of the app's destination, or for all, wherever they were to go."""

        async def write() -> None:
            async with await open_writer(self.where, "registry") as db:
                main = (await destinations.named(db, app, destinations.MAIN)).destination_id
                wanted = [(main, seq) for seq in seqs] or [(held.course, held.seq) for held in every]
                for course, seq in wanted:
                    await destinations.ask(db, NOON, app, course, action, [seq])

        every = self.parked(app)
        asyncio.run(write())

    def destination_id(self, app: str = OWNER) -> uuid.UUID:
        async def read() -> str:
            async with await open_reader(self.where, "registry") as db:
                found = await destinations.destination(db, app)
                assert found is not None
                return found.destination_id

        return uuid.UUID(asyncio.run(read()))

    def sent_ids(self, ids: Sequence[str], app: str = OWNER) -> list[str]:
        """The ids under which events leave for the app's destination."""
        namespace = self.destination_id(app)
        return [str(uuid.uuid5(namespace, each)) for each in ids]
