"""What talks to Segment: one batch, one request, through segment-analytics-python's own session.

The package's threaded client is not used: its queue, its retries and its silent losses live there. Nor is its `post`,
which encodes every message once more; a test holds that the same request leaves. A request goes straight to the
session's adapter, because the session would keep cookies, read the environment (a .netrc would replace the key) and
follow redirects with the key in hand.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

import msgspec
import requests
from segment.analytics import request as library
from segment.analytics.version import VERSION

from store.errors import ConfigError
from wire.adapters import ANSWER_SECONDS, Bounded, Forbidden, never_connected
from wire.mapping import LIBRARY
from wire.verdict import Reply, retry_after

CONNECT_SECONDS = 10.0  # and, again, to get the body out


def prepare(connections: int) -> None:
    """Make the package's shared session safe, for up to `connections` requests at once. Raises ConfigError."""
    if LIBRARY["version"] != VERSION:
        raise ConfigError(f"segment-analytics-python is {VERSION}; this exporter is written for {LIBRARY['version']}")
    logging.getLogger("segment").setLevel(logging.CRITICAL)  # at DEBUG it prints whole bodies with their keys
    session = library._session
    adapter = Bounded(pool_connections=connections, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def send(
    host: str,
    write_key: str,
    messages: Sequence[bytes],
    attempt: int,
    seconds: float = ANSWER_SECONDS,
    adapter: requests.adapters.BaseAdapter | None = None,
) -> Reply:
    """Send one batch of encoded messages and say what came back, within so many seconds for the answer; never raises
    for what the network does.

    `sentAt` is made anew for each attempt, because Segment corrects the time of every event by it.
    """
    sent_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    envelope = msgspec.json.encode({"sentAt": sent_at, "writeKey": write_key})
    body = b"".join((envelope[:-1], b',"batch":[', b",".join(messages), b"]}"))
    headers = {
        **library._session.headers,
        "Content-Type": "application/json",
        "User-Agent": f"analytics-python/{VERSION}",
        "Authorization": "Basic " + base64.b64encode(f"{write_key}:".encode()).decode(),
    }
    if attempt > 1:
        headers["X-Retry-Count"] = str(attempt - 1)
    timeout = (min(CONNECT_SECONDS, seconds), seconds)
    try:
        request = requests.Request("POST", f"{host}/v1/batch", headers=headers, data=body).prepare()
        way = adapter or library._session.get_adapter(request.url)
        response = way.send(request, timeout=timeout)
    except Forbidden as refusal:
        return Reply(forbidden=str(refusal), sent=False)
    except Exception as error:  # whatever requests makes of a strange answer, the other destinations go on
        return Reply(error=type(error).__name__, sent=not never_connected(error))
    return _reply(response, write_key)


def _reply(response: requests.Response, write_key: str) -> Reply:
    """What an answer says; a key that it echoes, however it is written, is taken out, and so is NUL, which PostgreSQL
    cannot keep."""
    body = _forms(write_key).sub("[write key]", response.content.decode(errors="replace")).replace("\0", "�")
    asked = retry_after(response.headers.get("Retry-After", ""), time.time())
    return Reply(response.status_code, body.strip(), asked)


@lru_cache(maxsize=1024)
def _forms(write_key: str) -> re.Pattern[str]:
    """A key as an answer may repeat it: as it is, as it went in the header, or either of them in JSON or a URL."""
    plain = [
        write_key,
        base64.b64encode(f"{write_key}:".encode()).decode(),
        base64.b64encode(write_key.encode()).decode(),
    ]
    forms = {form.rstrip("=") for form in plain}
    forms |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}
    forms |= {form.replace("/", "\\/") for form in forms} | {quote(form, safe="") for form in forms}
    return re.compile("|".join(re.escape(form) + "=*" for form in sorted(forms, key=len, reverse=True)), re.IGNORECASE)
