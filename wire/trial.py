"""A connection test: one event with a code for a person to read, and what Segment's settings endpoint says of the key.

The event takes the way of all others. It asks Segment to pass it on to nobody: the source's debugger is where it ends.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec
import requests

from store.destinations import Destination
from store.errors import ConfigError, Unavailable
from store.settings import SEGMENT_EU, SEGMENT_US, Settings
from wire import segment
from wire.adapters import Bounded
from wire.elsewhere import elsewhere
from wire.mapping import LIBRARY
from wire.verdict import judge

EVENT = "Connection test"
VISITOR = "connection-test"  # Segment wants somebody to have done it
PROBE_SECONDS = (3.0, 3.0)
CDN = "https://cdn.segment.com"
UNKNOWN_KEY = "Invalid path or write key provided"  # Segment's own words

Known = Literal["found", "not found", "unknown"]


def send_code(settings: Settings, d: Destination, write_key: str, code: str) -> None:
    """Send the test event. Raises ConfigError when the endpoint refuses it, Unavailable when it may take it later."""
    segment.prepare(1)
    send = elsewhere(settings.allowed_destinations).send if d.url else segment.send
    reply = send(d.url or settings.segment_url(d.region), write_key, [_message(code)], 1)
    verdict = judge(reply)
    if verdict.kind in ("destination", "content"):
        raise ConfigError(f"the test event was refused: {verdict.detail or reply.status}")
    if verdict.kind != "accepted":
        raise Unavailable(f"the test event could not be sent: {verdict.detail or reply.status}")


def _message(code: str) -> bytes:
    return msgspec.json.encode(
        {
            "integrations": {"All": False},
            "properties": {"code": code},
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "context": {"library": LIBRARY},
            "anonymousId": VISITOR,
            "type": "track",
            "event": EVENT,
            "messageId": str(uuid.uuid4()),
        }
    )


def probe(settings: Settings, d: Destination, write_key: str) -> Known:
    """Ask where browsers fetch a source's settings whether there is such a key: a hint, and often unknown.

    A copy can be a day old, and sources that only servers use may have no settings. Where another host stands in for
    Segment, that host is asked, so that no key goes to Segment which was not meant for it.
    """
    if d.url:
        return "unknown"
    api = settings.segment_url(d.region)
    host = CDN if api in (SEGMENT_US, SEGMENT_EU) else api
    request = requests.Request("GET", f"{host}/v1/projects/{quote(write_key, safe='')}/settings").prepare()
    try:
        answer = Bounded().send(request, timeout=PROBE_SECONDS)
    except Exception:  # the key is in the URL, and so in what the error says
        return "unknown"
    if answer.status_code == 200 and _is_object(answer.content):
        return "found"
    return "not found" if UNKNOWN_KEY in answer.text else "unknown"


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (ValueError, RecursionError):
        return False


def instructions(d: Destination, known: Known) -> str:
    """What is to be done now, for whoever asked for the test; the code itself is for the partner to find."""
    hint = {
        "found": "Segment's settings endpoint knows this key, which is a hint and no proof.",
        "not found": "Segment's settings endpoint does not know this key: compare it with the source's settings.",
        "unknown": "Whether there is such a key could not be asked.",
    }
    there = "where the endpoint shows what came in" if d.url else "in the source's Debugger in Segment"
    lines = [
        f'The event "{EVENT}" was accepted. That proves nothing: Segment answers success to any key, in any region.',
        hint[known],
        f"Have the partner look {there}, and read the property `code` of that event to you. Within a day:",
        f"  footfall app verify {d.app_key} --destination {d.name} --code CODE",
    ]
    if not d.url:
        lines.append("Connect a destination to the source: Segment disables one without any after 14 days.")
    return "\n".join(lines)
