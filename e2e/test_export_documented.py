"""The documented payloads on the whole way out: log, exporter, the real library, a socket, the landed form."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from listener import Listener
from processes import PATIENCE_SECONDS, Footfall
from shipping_stage import Stage

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "landed"


DESTINATION = "6f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061"
DOCUMENTED: dict[str, dict[str, Any]] = {
    "user": {
        "app": ("com.infosysta.jira.mobile-for-jira-service-desk-portal", "1211971", "1219125"),
        "message_id": "99e491a1-d2c7-4b68-ab97-cc7c3497e011",
        "name": "cta_click",
        "partner_anonymous_id": "87s12b3431fa6d32b85f0893a8670f8a88s2235dd0",
        "details": {
            "url": "https://marketplace.atlassian.com/apps/1219125/jsmobile-service-management-portal"
            "?hosting=cloud&tab=overview",
            "query": {"hosting": "cloud", "tab": "overview"},
            "referrer": "https://www.google.com/",
            "label": "Start Free Trial",
            "target": "https://rieckermann.atlassian.net/",
        },
    },
    "install": {
        "app": ("dropbox-jira", "1213750", "1216784"),
        "message_id": "32e377f9-d6c0-44d2-a986-7b2c12498558",
        "name": "install",
        "details": {},
    },
    "app-request": {
        "app": ("com.lucidchart.confluence.plugins.lucid-confluence", "350257", "350288"),
        "message_id": "903b89f3-f5de-48bf-8c08-db02b035f2db",
        "name": "app_request",
        "details": {},
    },
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_event_lands_in_the_documented_form(stage: Stage, name: str) -> None:
    """As the partner sees it: sent by the exporter with the real library, received by Segment on a socket."""
    golden = json.loads((GOLDEN / f"mpac-{name}-event.json").read_text())
    told = DOCUMENTED[name]
    app, partner_id, plugin_id = told["app"]
    footfall = stage.footfall
    if partner_id != "1211971":  # who is in the cast
        footfall.cli("partner", "add", "documented", "--partner-id", partner_id, "--name", "Documented", check=True)
    partner = "owner" if partner_id == "1211971" else "documented"
    if plugin_id == "1219125":
        change(footfall, "registry", "update apps set plugin_id = 'another' where plugin_id = '1219125'")
    footfall.cli("app", "add", app, "--partner", partner, "--plugin-id", plugin_id, "--name", app, check=True)
    footfall.cli("app", "set", app, "--segment-write-key-file", "-", stdin=golden["writeKey"], check=True)
    change(footfall, "registry", f"update destinations set destination_id = '{DESTINATION}' where app_key = '{app}'")
    happened = milliseconds(golden["originalTimestamp"])
    row = (
        *(app, UUID(told["message_id"]).bytes, "track", told["name"], "server", happened, happened, partner),
        *(golden["userId"], golden["properties"]["userId"], told.get("partner_anonymous_id")),
        json.dumps(told["details"]),
    )
    columns = "app_key, message_id, type, name, source, occurred_at, received_at, partner_key, anonymous_id, user_id"
    columns += ", partner_anonymous_id, details"
    change(footfall, "events", f"insert into events ({columns}) values ({', '.join('?' * len(row))})", *row)

    stage.segment.post("/_/clock", json={"now": golden["receivedAt"]}).raise_for_status()
    assert footfall.export().returncode == 0
    (landed,) = stage.segment.get("/_/received").json()
    assert landed.keys() == golden.keys()
    for key in golden.keys() - {"sentAt", "timestamp"}:
        assert landed[key] == golden[key], key
    sent, received = milliseconds(landed["sentAt"]), milliseconds(landed["receivedAt"])
    assert abs(sent - time.time() * 1_000) < 60_000, "sent now, not when the event happened"
    assert milliseconds(landed["timestamp"]) == received - (sent - happened)


def milliseconds(instant: str) -> int:
    return (datetime.fromisoformat(instant) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def change(footfall: Footfall, nature: str, sql: str, *values: object) -> None:
    """Write behind the product's back."""
    connection = sqlite3.connect(footfall.data_dir / f"{nature}.db", isolation_level=None)
    connection.execute(sql, values)
    connection.close()


# --- the request itself

BOTH = """
import sys
from datetime import UTC, datetime
import msgspec
from segment.analytics.request import post
from wire import segment

url, key, message = sys.argv[1], sys.argv[2], {"type": "track", "event": "A \u00e9", "userId": "ann"}
segment.prepare(1)
for attempt in (1, 3):
    segment.send(url, key, [msgspec.json.encode(message)] * 2, attempt)
    post(key, url, retry_count=attempt - 1, batch=[message] * 2, sentAt=datetime.now(UTC).isoformat())
"""


def test_the_request_is_the_one_that_the_librarys_own_post_would_make() -> None:
    key = "WRITEKEYOFTHEOWNERSCHARTS0000001"
    listener = Listener(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"success": true}')
    subprocess.run([sys.executable, "-c", BOTH, listener.url, key], cwd=ROOT, check=True, timeout=PATIENCE_SECONDS)
    listener.close()
    ours, theirs, ours_again, theirs_again = (as_heard(request) for request in listener.heard)
    assert ours == theirs
    assert ours_again == theirs_again
    assert (ours["headers"].get("x-retry-count"), ours_again["headers"]["x-retry-count"]) == (None, "2")
    assert ours["body"]["batch"] == [{"type": "track", "event": "A é", "userId": "ann"}] * 2


def as_heard(request: bytes) -> dict[str, Any]:
    """Without what may differ: how long the body is, and when it was sent."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    named = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
    named.pop("content-length")
    said = json.loads(body)
    assert abs(milliseconds(said.pop("sentAt")) - time.time() * 1_000) < 60_000
    return {"line": line, "headers": named, "body": said}
