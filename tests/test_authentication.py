"""Strict authentication at the doors: the schemes by their vectors, replays, two live keys, and the quarantine."""

import asyncio
import gzip
import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from conftest import Cast, Doors
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from kochava_cast import INSTALL, TRACK, call, guid, post
from starlette.testclient import TestClient
from waiting import until

from collector.app import Collector
from collector.doors import authentication as proof
from collector.doors.authentication import Pair, Request, proved
from collector.portal.frame import PageRoute
from collector.quarantine import Quarantine
from store import authentication, log, registry
from store.authentication import NewPair
from store.database import Database, Engine
from store.engines import open_writer
from store.entry import Entry, Held
from store.errors import ConfigError, Refused, Unavailable
from store.event import NewRow
from store.quarantine import Amount

SQLITE = pytest.mark.only("sqlite", "a proof knows no store")
APP = "com.owner.charts"
NOW = 1_700_000_000_000

# The worked vector of Kochava's scheme: the body is exactly this line.
VECTOR = Pair(b"test-api-key", b"test-app-secret")
VECTOR_BODY = (
    rb'{"action":"install","kochava_app_id":"koconversionsdemo174ea19bc63928c","kochava_device_id":"KD5b085ab00b386",'
    rb'"data":{"origination_ip":"69.224.141.77","device_ver":"iPhone-iOS-9.3.4","device_ua":"Mozilla\/5.0",'
    rb'"device_ids":{"idfa":"kochava-test-idfa-2015-12-09-12"}}}'
)
VECTOR_TOKEN = b"1d859638f372817cdf9cbcc792aadadc1a013c4eba3599ddf4c3da24ff298b59"


def request(body: bytes = b"{}", path: str = TRACK, at: int = NOW, **headers: str | bytes) -> Request:
    named = {key.replace("_", "-").encode(): v if isinstance(v, bytes) else v.encode() for key, v in headers.items()}
    return Request("kochava", path, named, body, at)


def refused(pairs: list[Pair], asked: Request) -> str:
    with pytest.raises(Refused) as found:
        proved(pairs, asked)
    return found.value.reason


def signed(pair: Pair, body: bytes, at: int = NOW, nonce: str = "", path: str = TRACK) -> dict[str, str]:
    """The headers of our own scheme, as the test's client names them."""
    timestamp = str(at // 1_000)
    made = proof.signature(pair, timestamp.encode(), nonce.encode(), path, body)
    named = {"footfall_key": pair.api_key.decode(), "footfall_timestamp": timestamp, "footfall_signature": made}
    return named | ({"footfall_nonce": nonce} if nonce else {})


# --- the schemes


@SQLITE
def test_the_worked_vector_of_kochavas_scheme_holds() -> None:
    assert len(VECTOR_BODY) == 267
    assert hashlib.sha1(VECTOR_BODY).hexdigest() == "c58e8c9394b6ca955b59fc32dd328f368f02a92a"  # noqa: S324
    assert proof.token(VECTOR, VECTOR_BODY).encode() == VECTOR_TOKEN
    assert proved([VECTOR], request(VECTOR_BODY, kochava_api_key=VECTOR.api_key, kochava_auth_token=VECTOR_TOKEN))
    shouted = VECTOR_TOKEN.upper()
    assert proved([VECTOR], request(VECTOR_BODY, kochava_api_key=VECTOR.api_key, kochava_auth_token=shouted))


@SQLITE
def test_a_token_made_of_the_body_as_php_writes_it_holds_for_the_body_without_its_backslashes() -> None:
    plain = VECTOR_BODY.replace(rb"\/", b"/")
    headers = {"kochava_api_key": VECTOR.api_key, "kochava_auth_token": VECTOR_TOKEN}
    assert proved([VECTOR], request(plain, **headers))
    assert proof.escaped(VECTOR_BODY) == VECTOR_BODY
    assert proof.escaped(plain) == VECTOR_BODY
    half = VECTOR_BODY.replace(rb"\/", b"/", 1)
    forms = (VECTOR_BODY, plain, half, plain.replace(b"/", rb"\/", 1))
    assert len({proved([VECTOR], request(form, **headers)) for form in forms}) == 1, "each would be an act of its own"
    other = {"kochava_api_key": VECTOR.api_key, "kochava_auth_token": proof.token(VECTOR, plain)}
    assert refused([VECTOR], request(VECTOR_BODY, **other)) == "wrong_proof"


@SQLITE
def test_what_does_not_prove_it_says_why() -> None:
    token, key = proof.token(VECTOR, b"{}"), VECTOR.api_key
    for headers, reason in (
        ({}, "no_proof"),
        ({"kochava_auth_token": token}, "no_proof"),
        ({"kochava_api_key": key}, "wrong_proof"),
        ({"kochava_api_key": key, "kochava_auth_token": token[:-1]}, "wrong_proof"),
        ({"kochava_api_key": key, "kochava_auth_token": ""}, "wrong_proof"),
        ({"kochava_api_key": key, "kochava_auth_token": b"\xff" * 64}, "wrong_proof"),
        ({"kochava_api_key": key[:-1], "kochava_auth_token": token}, "unknown_api_key"),
        ({"kochava_api_key": key + b"x", "kochava_auth_token": token}, "unknown_api_key"),
        ({"footfall_signature": "v1=00"}, "no_proof"),
        ({"footfall_signature": "v1=00", "footfall_key": key}, "wrong_proof"),
        ({"footfall_signature": "v1=00", "footfall_key": key, "footfall_timestamp": "soon"}, "wrong_proof"),
        ({"footfall_signature": "v1=00", "footfall_key": key, "footfall_timestamp": "1700000000"}, "wrong_proof"),
        (signed(VECTOR, b"{}") | {"footfall_nonce": "another"}, "wrong_proof"),
        (signed(VECTOR, b"{ }"), "wrong_proof"),
        (signed(VECTOR, b"{}", path="/v1/track"), "wrong_proof"),
        (signed(VECTOR, b"{}", at=NOW - 300_999), "stale_proof"),
        (signed(VECTOR, b"{}", at=NOW + 301_000), "stale_proof"),
    ):
        assert refused([VECTOR], request(**headers)) == reason, headers
    for headers in (signed(VECTOR, b"{}"), signed(VECTOR, b"{}", nonce="n-1"), signed(VECTOR, b"{}", at=NOW - 299_000)):
        assert proved([VECTOR], request(**headers))
    assert refused([], request(**signed(VECTOR, b"{}"))) == "unknown_api_key"


@SQLITE
def test_either_of_two_live_keys_proves_it_with_its_own_secret_alone() -> None:
    other = Pair(b"ffk_2", b"another-secret")
    for pair in (VECTOR, other):
        headers = {"kochava_api_key": pair.api_key, "kochava_auth_token": proof.token(pair, b"{}")}
        assert proved([VECTOR, other], request(**headers))
    crossed = {"kochava_api_key": other.api_key, "kochava_auth_token": proof.token(VECTOR, b"{}")}
    assert refused([VECTOR, other], request(**crossed)) == "wrong_proof"


@SQLITE
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_two_acts_are_told_apart_by_body_time_and_nonce(one: bytes, other: bytes) -> None:
    acts = {proved([VECTOR], request(body, **signed(VECTOR, body))) for body in (one, other)}
    assert len(acts) == len({one, other})
    again = proved([VECTOR], request(one, **signed(VECTOR, one, at=NOW - 60_000)))
    assert again not in acts
    with_nonce = [proved([VECTOR], request(one, **signed(VECTOR, one, at=at, nonce="n"))) for at in (NOW, NOW - 9_000)]
    assert len(set(with_nonce)) == 1


@SQLITE
@given(
    st.dictionaries(
        st.sampled_from([proof.API_KEY, proof.TOKEN, proof.KEY, proof.TIMESTAMP, proof.NONCE, proof.SIGNATURE]),
        st.binary(max_size=90),
    ),
    st.binary(max_size=60),
)
def test_no_headers_prove_anything_by_chance(headers: dict[bytes, bytes], body: bytes) -> None:
    assert refused([VECTOR], Request("kochava", TRACK, headers, body, NOW)) in proof.STATUS


# --- the rule of an app


class Guard:
    """An app of the cast whose callers have to prove who they are, and what its owner does about it."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    def registry(self, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        async def done() -> Any:
            async with await open_writer(self.cast.where, "registry") as db:
                return await work(db)

        return asyncio.run(done())

    def pair(self) -> Pair:
        made: NewPair = self.registry(lambda db: authentication.add_pair(db, self.cast.vault, 0, APP))
        return Pair(made.api_key.encode(), made.secret.encode())

    def rule(self, mode: str) -> None:
        self.registry(lambda db: authentication.set_mode(db, 0, APP, mode))

    def held(self) -> list[tuple[Any, ...]]:
        return self.cast.rows("select door, path, reason, body from quarantine order by received_at, quarantine_id")

    def by_reason(self) -> dict[str, int]:
        sql = "select reason, cast(sum(n) as bigint) from door_tallies where outcome = 'rejected' group by reason"
        return dict(self.cast.rows(sql))


@pytest.fixture
def guard(cast: Cast) -> Guard:
    return Guard(cast)


def settled(doors: Doors, asked: Callable[[], Response], status: int) -> Response:
    """The answer, once the collector has seen what was changed in the registry."""
    return until(lambda: answer if (answer := asked()).status_code == status else None)


def fresh(cast: Cast, **changed: Any) -> dict[str, Any]:
    """The official sample of an event, as of today."""
    return call(cast, **({"usertime": int(time.time()) - 60} | changed))


def as_bytes(body: Any) -> bytes:
    return json.dumps(body).encode()


def tokened(pair: Pair, body: bytes) -> dict[str, str]:
    return {"kochava_api_key": pair.api_key.decode(), "kochava_auth_token": proof.token(pair, body)}


def test_an_app_with_the_rule_takes_what_is_proved_and_refuses_all_else(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    first, second = guard.pair(), guard.pair()
    guard.rule("on")
    doors = open_doors()
    bare = as_bytes(call(cast, INSTALL))
    answer = post(doors, bare)
    assert (answer.status_code, answer.json()["reason"]) == (401, "no_proof")
    assert post(doors, bare, **tokened(second, bare)).json()["stored"] == 1
    assert post(doors, bare, **tokened(first, bare + b" ")).status_code == 401
    other = as_bytes(call(cast, INSTALL, app_key="com.owner.boards"))
    assert post(doors, other).status_code == 200, "the rule is one app's"
    mixed = as_bytes([fresh(cast), fresh(cast, app_key="com.owner.boards")])
    said = post(doors, mixed).json()
    assert (said["stored"], [each["index"] for each in said["rejected"]]) == (1, [0])
    assert guard.by_reason() == {"no_proof": 2, "wrong_proof": 1}
    assert cast.balance() == {"received": 6, "stored": 3, "duplicate": 0, "rejected": 3, "shed": 0}
    assert b"104.219.46.66" not in cast.every_byte()


@SQLITE
def test_the_same_rule_holds_at_segments_door(open_doors: Callable[..., Doors], cast: Cast, guard: Guard) -> None:
    pair = guard.pair()
    guard.rule("on")
    doors = open_doors()
    ((key,),) = cast.rows("select ingest_key from apps where app_key = ?", APP, nature="registry")
    track = as_bytes({"writeKey": key, "event": "Order Completed", "userId": "u-1"})
    assert post(doors, track, "/v1/track").status_code == 401
    for _ in range(2):
        assert post(doors, track, "/v1/track", **tokened(pair, track)).json() == {"success": True}
    now = time.time_ns() // 1_000_000
    signature = signed(pair, track, now, "n-1", "/v1/track")
    assert post(doors, track, "/v1/track", **signature).json() == {"success": True}
    assert post(doors, track, "/v1/t", **signature).status_code == 401, "a signature is for its path"
    packed = gzip.compress(track)
    headers = signed(pair, packed, now, "n-2", "/v1/track") | {"content_encoding": "gzip"}
    assert post(doors, packed, "/v1/track", **headers).json() == {"success": True}
    assert cast.balance() == {"received": 6, "stored": 3, "duplicate": 1, "rejected": 2, "shed": 0}
    assert guard.by_reason() == {"no_proof": 1, "wrong_proof": 1}


def test_what_was_proved_once_is_a_duplicate_when_it_is_played_again_also_after_a_restart(
    cast: Cast, guard: Guard
) -> None:
    pair = guard.pair()
    guard.rule("on")
    timeless = as_bytes([call(cast, usertime=None), call(cast, usertime=None)])
    for expected in ((2, 0), (0, 2)):
        with TestClient(Collector(cast.settings())) as client:
            said = post(Doors(client, cast), timeless, **tokened(pair, timeless)).json()
            assert (said["stored"], said["duplicate"]) == expected
    assert cast.balance()["duplicate"] == 2


@SQLITE
def test_a_call_older_than_the_log_is_refused_where_a_replay_could_not_be_told(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    pair = guard.pair()
    guard.rule("on")
    doors = open_doors(retention_days=90)
    old = as_bytes(call(cast, usertime=int(time.time()) - 91 * 86_400))
    assert post(doors, old, **tokened(pair, old)).json()["reason"] == "too_old"
    young = as_bytes(call(cast, usertime=int(time.time()) - 89 * 86_400))
    assert post(doors, young, **tokened(pair, young)).json()["stored"] == 1


@SQLITE
def test_a_request_sent_before_the_log_began_is_a_replay_however_its_clock_is_corrected(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    pair = guard.pair()
    guard.rule("on")
    doors = open_doors(retention_days=90)
    ((key,),) = cast.rows("select ingest_key from apps where app_key = ?", APP, nature="registry")
    for days, expected in ((91, 400), (89, 200)):
        at = datetime.fromtimestamp(time.time() - days * 86_400, UTC).isoformat()
        message = {"type": "track", "event": "Order Completed", "userId": "u-1", "timestamp": at}
        for path, body in (
            ("/v1/track", message | {"writeKey": key, "sentAt": at}),
            ("/v1/batch", {"batch": [message], "writeKey": key, "sentAt": at}),
        ):
            sent = as_bytes(body)
            answer = post(doors, sent, path, **tokened(pair, sent))
            assert answer.status_code == expected
            assert answer.json().get("code", "") == ("too_old" if expected == 400 else "")


def test_a_changed_rule_and_a_revoked_key_are_heeded_by_a_running_collector(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    doors = open_doors()
    body = as_bytes(fresh(cast))
    assert post(doors, body).status_code == 200
    pair = guard.pair()
    guard.rule("on")
    settled(doors, lambda: post(doors, body), 401)
    assert post(doors, body, **tokened(pair, body)).status_code == 200
    guard.registry(lambda db: authentication.revoke_pair(db, 0, APP, pair.api_key.decode()))
    answer = settled(doors, lambda: post(doors, body, **tokened(pair, body)), 401)
    assert answer.json()["reason"] == "unknown_api_key"


def test_at_most_two_pairs_are_live_and_a_rule_needs_one(cast: Cast, guard: Guard) -> None:
    with pytest.raises(ConfigError, match="make a key pair first"):
        guard.rule("on")
    with pytest.raises(ConfigError, match="one of off, on, quarantine"):
        guard.rule("perhaps")
    first = guard.pair()
    guard.pair()
    with pytest.raises(ConfigError, match="two key pairs are live"):
        guard.pair()
    key = first.api_key.decode()
    assert guard.registry(lambda db: authentication.revoke_pair(db, 0, APP, key))
    assert not guard.registry(lambda db: authentication.revoke_pair(db, 0, APP, key))
    guard.pair()
    actions = Counter(action for (action,) in cast.rows("select action from audit", nature="registry"))
    assert (actions["authentication.add-key"], actions["authentication.revoke-key"]) == (3, 1)


def test_a_secret_is_nowhere_in_the_clear(cast: Cast, guard: Guard) -> None:
    pair = guard.pair()
    assert pair.secret not in cast.every_byte()
    assert pair.api_key in cast.every_byte()


# --- the quarantine


def released(cast: Cast, doors: Doors, work: Callable[[Quarantine, registry.App], Coroutine[Any, Any, Any]]) -> Any:
    """What the portal does, in the collector's own event loop."""
    assert doors.client.portal is not None
    routes: Any = doors.client.app
    portal = next(route for route in routes._router.routes if isinstance(route, PageRoute)).endpoint._portal

    async def done() -> Any:
        app = await registry.app(portal.registry, APP)
        return await work(portal.quarantine, app)

    return doors.client.portal.call(done)


def later() -> int:
    return time.time_ns() // 1_000_000


def test_what_lacks_proof_waits_and_is_stored_once_when_it_is_released(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    pair = guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    proved_one, bare = as_bytes(fresh(cast)), as_bytes([call(cast, usertime=None), call(cast, usertime=None), 7])
    assert post(doors, proved_one, **tokened(pair, proved_one)).json()["stored"] == 1
    for _ in range(2):
        answer = post(doors, bare)
        assert (answer.status_code, answer.json()["success"], answer.json()["quarantined"]) == (200, 1, 1)
    ((door, path, reason, body),) = guard.held()
    assert (door, path, reason) == ("kochava", TRACK, "no_proof")
    assert b"SubscriptionTest" in body
    assert b"104.219.46.66" not in cast.every_byte()
    assert guard.by_reason()["quarantined"] == 2
    assert cast.balance()["stored"] == 1

    done = released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later()))
    assert done == {"released": 1, "stored": 2}
    assert guard.held() == []
    assert released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later())) == {}
    assert len(cast.events()) == 3
    post(doors, bare)
    again = released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later()))
    assert again == {"released": 1, "duplicate": 2}
    assert cast.balance()["stored"] == 3


@SQLITE
def test_segments_calls_wait_too_without_their_key(open_doors: Callable[..., Doors], cast: Cast, guard: Guard) -> None:
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    ((key,),) = cast.rows("select ingest_key from apps where app_key = ?", APP, nature="registry")
    message = {"type": "track", "event": "Order Completed", "userId": "u-1", "context": {"ip": "203.0.113.9"}}
    batch = as_bytes({"writeKey": key, "batch": [message, message, message | {"type": "dance"}]})
    assert post(doors, batch, "/v1/batch").json() == {"success": True}
    ((door, path, _, body),) = guard.held()
    assert (door, path) == ("segment", "/v1/batch")
    assert key.encode() not in body
    assert b"203.0.113.9" not in cast.every_byte()
    done = released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later()))
    assert done == {"released": 1, "stored": 2, "rejected": 1}
    assert cast.balance() == {"received": 4, "stored": 2, "duplicate": 0, "rejected": 2, "shed": 0}


def test_two_who_release_the_same_at_once_have_it_stored_once(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    for number in range(5):
        post(doors, as_bytes(call(cast, usertime=None, event_name=f"e-{number}")))

    async def both(quarantine: Quarantine, app: registry.App) -> Counter[str]:
        other = Quarantine(quarantine._intake, quarantine._reader, quarantine._judges)  # as of another collector
        first, second = await asyncio.gather(*(each.release_all(app, later()) for each in (quarantine, other)))
        return first + second

    done = released(cast, doors, both)
    assert done["stored"] == 5
    assert len(cast.events()) == 5
    assert guard.held() == []
    cast.balance()


def test_a_release_that_fails_leaves_all_of_it_and_the_next_one_ends_it(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    post(doors, as_bytes([call(cast, usertime=None), call(cast, usertime=None)]))
    with monkeypatch.context() as broken:
        broken.setattr("collector.writer.log.commit", fails)
        with pytest.raises(Unavailable):
            released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later()))
    assert (len(guard.held()), cast.events()) == (1, [])

    def recovered() -> Any:
        return released(cast, doors, lambda quarantine, app: quarantine.release_all(app, later()))

    def ended() -> dict[str, int] | None:
        with suppress(Unavailable):  # until the writer has healed
            return recovered()
        return None

    assert until(ended) == {"released": 1, "stored": 2}
    assert guard.held() == []
    assert cast.balance()["stored"] == 2


async def fails(*_: Any) -> None:
    raise Unavailable("the disk is gone")


def test_a_commit_that_is_done_twice_stores_once_what_leaves(cast: Cast) -> None:
    """Killed after the commit and before anybody heard of it, the release is asked for again: it finds nothing."""
    held = Held(APP, "1", "kochava", TRACK, NOW, "no_proof", 2, b"{}")

    async def done() -> None:
        async with await open_writer(cast.where, "log") as db:
            await log.commit(db, [Entry("kochava", NOW, [], [], [], [held, held])], Counter())
            await log.commit(db, [Entry("kochava", NOW, [], [], [], [held])], Counter())
            for _ in range(2):
                await log.commit(db, [Entry("kochava", NOW, [], [], [], [], [(APP, "1")])], Counter())

    asyncio.run(done())
    assert cast.rows("select count(*) from quarantine") == [(0,)]


def test_a_release_that_is_cut_off_within_its_commit_stores_nothing_and_keeps_what_waits(
    cast: Cast, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(APP, "1", "kochava", TRACK, NOW, "no_proof", 2, b"{}")
    named = (APP, bytes(16), "track", "Purchase", "partner", NOW, NOW, "owner", "a-1")
    row: NewRow = (*named, "u-1", None, None, "{}")

    async def done(*entries: Entry) -> None:
        async with await open_writer(cast.where, "log") as db:
            for entry in entries:
                await log.commit(db, [entry], Counter())

    asyncio.run(done(Entry("kochava", NOW, [], [], [], [held])))
    release = Entry("kochava", NOW, [row], [], [], [], [(APP, "1")])
    with monkeypatch.context() as broken:
        where = "store.postgres.append" if engine == "postgresql" else "store.sqlite.append"
        broken.setattr(f"{where}._LEAVE", "delete from nowhere where app_key = ? and quarantine_id = ?")
        with pytest.raises((sqlite3.Error, psycopg.Error)):
            asyncio.run(done(release))
    assert (len(cast.events()), cast.rows("select count(*) from quarantine")) == (0, [(1,)])
    asyncio.run(done(release, release))
    assert (len(cast.events()), cast.rows("select count(*) from quarantine")) == (1, [(0,)])


def test_what_is_dropped_is_gone_and_stays_counted(open_doors: Callable[..., Doors], cast: Cast, guard: Guard) -> None:
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    for number in range(3):
        post(doors, as_bytes(call(cast, event_name=f"e-{number}")))
    ((one,),) = cast.rows("select min(quarantine_id) from quarantine")
    assert released(cast, doors, lambda quarantine, app: quarantine.drop(app, [one, "nothing"], later())) == 1
    assert released(cast, doors, lambda quarantine, app: quarantine.drop_all(app, later())) == 2
    assert (guard.held(), cast.events()) == ([], [])
    assert cast.balance() == {"received": 3, "stored": 0, "duplicate": 0, "rejected": 3, "shed": 0}


@SQLITE
def test_a_full_quarantine_says_so_and_counts(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "MOST_REQUESTS", 2)
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    statuses = [post(doors, as_bytes(call(cast, event_name=f"e-{n}"))).status_code for n in range(3)]
    assert statuses == [200, 200, 429]
    assert guard.by_reason() == {"quarantined": 2, "quarantine_full": 1}
    monkeypatch.undo()
    assert proof.fits(Amount(9_999, 0), proof.MOST_BYTES)
    assert not proof.fits(Amount(0, 1), proof.MOST_BYTES)
    assert not proof.fits(Amount(10_000, 0), 0)


@SQLITE
def test_what_can_never_be_released_is_refused_at_once(
    open_doors: Callable[..., Doors], cast: Cast, guard: Guard
) -> None:
    guard.pair()
    guard.rule("quarantine")
    doors = open_doors()
    assert post(doors, as_bytes(fresh(cast))[:-1]).json()["reason"] == "invalid"
    assert post(doors, {"kochava_app_id": guid(cast) + "x"}).json()["reason"] == "unknown_app"
    assert guard.held() == []


def test_an_old_quarantine_is_removed_with_old_rejections(cast: Cast) -> None:
    from store import purging

    day, now = 86_400_000, NOW
    old, young = (Held(APP, str(n), "kochava", TRACK, now - n * day, "no_proof", 2, b"{}") for n in (31, 29))

    async def done() -> Any:
        async with await open_writer(cast.where, "log") as db:
            await log.commit(db, [Entry("kochava", now, [], [], [], [old, young])], Counter())
        return await purging.purge(cast.settings(rejection_days=30), now, 20)

    assert asyncio.run(done()).quarantined == 1
    assert cast.rows("select quarantine_id from quarantine") == [("29",)]
