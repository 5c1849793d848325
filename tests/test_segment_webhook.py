"""Segment's webhook destination: what its signature covers, what is stored, and how soon it is answered."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest
from conftest import SECRET_KEY, Cast, Doors, iso
from httpx2 import Response

from collector.doors import webhook
from store.secrets import Vault

SUCCESS = {"success": True}
only_sqlite = pytest.mark.only("sqlite", "what is read and answered before any store is asked")


def guid_of(cast: Cast, app: str = "com.owner.charts") -> str:
    ((guid,),) = cast.rows(f"select guid from apps where app_key = '{app}'", nature="registry")
    assert isinstance(guid, str)
    return guid


def passed_on(**changed: Any) -> dict[str, Any]:
    """A track call as Segment passes it on, with the fields given."""
    return {
        "type": "track",
        "event": "Signed Up",
        "messageId": f"ajs-next-{uuid.uuid4()}",
        "anonymousId": "a-1",
        "userId": "u-1",
        "properties": {"plan": "pro"},
        "context": {"ip": "203.0.113.9", "library": {"name": "analytics.js"}},
        "originalTimestamp": iso(-90_000_000),
        "sentAt": iso(-80_000_000),
        "receivedAt": iso(-20_000),
        "timestamp": iso(-3_600_000),
    } | changed


def signed(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def post(doors: Doors, guid: str, body: Any, signature: str | None = "", **headers: str) -> Response:
    """`signature` is made when it is '', and left out when it is None. What Segment writes holds no spaces."""
    content = body if isinstance(body, bytes) else compact(body)
    first = compact(body[0]) if isinstance(body, list) and body else content
    secret = Vault(SECRET_KEY).webhook_secrets(guid)[0]
    given = {} if signature is None else {"X-Signature": signature or signed(first, secret)}
    answer = doors.client.post(f"/webhooks/segment/{guid}", content=content, headers=given | headers)
    assert isinstance(answer.json(), dict)
    return answer


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_one_event_and_a_batch_of_them_are_stored(doors: Doors, cast: Cast) -> None:
    guid = guid_of(cast)
    assert post(doors, guid, passed_on()).json() == SUCCESS
    batch = [passed_on(event="Ünïcode €"), passed_on(type="identify", traits={"a": 1}), passed_on(userId=None)]
    assert post(doors, guid, batch).json() == SUCCESS
    assert post(
        doors, guid.upper(), batch, signed(compact(batch[0]), Vault(SECRET_KEY).webhook_secrets(guid)[0])
    ).json()
    events = cast.events()
    assert [event["type"] for event in events] == ["track", "track", "identify", "track"]
    assert {event["app_key"] for event in events} == {"com.owner.charts"}
    assert {event["details"]["door"] for event in events} == {"webhook"}
    assert {round((e["received_at"] - e["occurred_at"]) / 60_000) for e in events} == {60}, "Segment's own correction"
    assert cast.balance() == {"received": 7, "stored": 4, "duplicate": 3, "rejected": 0, "shed": 0}
    assert b"203.0.113.9" not in cast.every_byte()


@only_sqlite
def test_without_the_right_signature_nothing_is_taken(doors: Doors, cast: Cast) -> None:
    guid, message = guid_of(cast), passed_on()
    vault, body = Vault(SECRET_KEY), compact(message)
    (secret,), (others,) = vault.webhook_secrets(guid), vault.webhook_secrets(guid_of(cast, "com.stranger.notes"))
    bad = [
        None,
        "0" * 40,
        "é",
        signed(body, others),
        signed(body, guid),
        signed(body + b" ", secret),
        signed(body, secret)[:-1],
        hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    ]
    for signature in bad:
        given = signature.encode("latin-1") if signature else signature
        answer = post(doors, guid, message, given)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (401, "signature"), signature
    second = [passed_on(), message]
    answer = post(doors, guid, second, signed(body, secret))
    assert answer.status_code == 401, "of a list, the first is signed"
    assert cast.rejections() == [("com.owner.charts", "signature", b"")] * (len(bad) + 1)
    assert post(doors, guid, message, signed(body, secret).upper()).json() == SUCCESS


@only_sqlite
def test_a_secret_of_an_older_key_counts_until_the_key_is_gone() -> None:
    before, between, after = Vault("a" * 32), Vault(f"{'b' * 32}\n{'a' * 32}"), Vault(f"{'b' * 32}\nids:{'a' * 32}")
    assert between.webhook_secrets("g") == [*after.webhook_secrets("g"), *before.webhook_secrets("g")]
    assert len({*before.webhook_secrets("g"), *between.webhook_secrets("g"), *before.webhook_secrets("h")}) == 3


@only_sqlite
def test_what_cannot_be_read_is_refused_as_a_whole(doors: Doors, cast: Cast) -> None:
    guid = guid_of(cast)
    secret = Vault(SECRET_KEY).webhook_secrets(guid)[0]
    told: list[tuple[bytes, dict[str, str], tuple[int, str]]] = [
        (b"", {}, (400, "invalid")),
        (b"{", {}, (400, "invalid")),
        (b"[]", {}, (400, "invalid")),
        (b"[{]", {}, (400, "invalid")),
        (b"\xff", {}, (400, "not_utf8")),
        (b"[\xff]", {}, (400, "not_utf8")),
        (b"[" + b"{}," * 4_000 + b"{}]", {}, (413, "too_many")),
        (b" " * (webhook.MAX_BODY + 1), {}, (413, "too_large")),
        (b"{}", {"Content-Encoding": "br"}, (415, "encoding")),
    ]
    for body, headers, expected in told:
        answer = post(doors, guid, body, signed(b"{}" if body.startswith(b"[{},") else body.strip(b"[]") or b"", secret)
                      if body.startswith(b"[") else signed(body, secret), **headers)  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == expected, body[:20]
    answer = post(doors, str(uuid.uuid4()), passed_on())
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_app")
    assert post(doors, guid, [passed_on(), 5, "text", passed_on(type="nothing")]).json()["stored"] == 1
    assert cast.balance() == {"received": 14, "stored": 1, "duplicate": 0, "rejected": 13, "shed": 0}


@only_sqlite
def test_a_packed_body_is_signed_as_it_was_before(doors: Doors, cast: Cast) -> None:
    guid, body = guid_of(cast), compact(passed_on())
    signature = signed(body, Vault(SECRET_KEY).webhook_secrets(guid)[0])
    assert post(doors, guid, gzip.compress(body), signature, **{"Content-Encoding": "gzip"}).json() == SUCCESS


@only_sqlite
def test_a_deletion_is_on_record_and_not_called_done(doors: Doors, cast: Cast) -> None:
    answer = post(doors, guid_of(cast), {"type": "delete", "userId": "u-1", "timestamp": iso()})
    assert (answer.status_code, answer.json()["code"]) == (400, "deletion")
    ((app, reason, body),) = cast.rejections()
    assert (app, reason, json.loads(body)["userId"]) == ("com.owner.charts", "deletion", "u-1")


@only_sqlite
def test_segment_is_answered_before_it_gives_up(doors: Doors, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be answered in time is sent again, and was stored all the same."""
    guid, message = guid_of(cast), passed_on()

    async def never(*ignored: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("collector.doors.webhook.ANSWER_SECONDS", 0.01)
    with monkeypatch.context() as stuck:
        stuck.setattr("collector.ingest.Intake.ingest", never)
        answer = post(doors, guid, message)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    monkeypatch.setattr("collector.doors.webhook.ANSWER_SECONDS", 30.0)
    assert post(doors, guid, message).json() == SUCCESS
    assert cast.balance() == {"received": 2, "stored": 1, "duplicate": 0, "rejected": 0, "shed": 1}
