"""The only module that talks to Segment, through two pieces of segment-analytics-python that start no thread.

`post` sends one batch in the calling thread and hides nothing: its own retries, its queue and its silent losses live in
the threaded client, which is not used. The package's session is shared by all callers, so it is made to keep no
cookies, to read no environment (a .netrc would replace the key), and to follow no redirect with the key in hand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy

import requests
from segment.analytics import request as library
from segment.analytics.version import VERSION

from exporter.mapping import LIBRARY, Message
from exporter.verdict import Reply
from store.errors import ConfigError

TIMEOUT_SECONDS = (5.0, 15.0)  # to connect, to read
EXCERPT = 200


def prepare(connections: int) -> None:
    """Make the package's shared session safe, for up to `connections` requests at once. Raises ConfigError."""
    if LIBRARY["version"] != VERSION:
        raise ConfigError(f"segment-analytics-python is {VERSION}; this exporter is written for {LIBRARY['version']}")
    logging.getLogger("segment").setLevel(logging.CRITICAL)  # at DEBUG it prints whole bodies with their keys
    session = library._session
    session.trust_env = False
    session.max_redirects = 0
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = requests.adapters.HTTPAdapter(pool_connections=connections, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def send(host: str, write_key: str, messages: Sequence[Message], attempt: int) -> Reply:
    """Send one batch and say what came back; never raises for what the network or the other end does.

    `sentAt` is made anew for each attempt, because Segment corrects the time of every event by it.
    """
    sent_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        response = library.post(
            write_key, host, timeout=TIMEOUT_SECONDS, retry_count=attempt - 1, batch=list(messages), sentAt=sent_at
        )
    except library.APIError as error:
        return _reply(error.response, write_key)
    except requests.TooManyRedirects:
        return Reply(redirected=True)
    except (requests.exceptions.ConnectTimeout, requests.exceptions.InvalidURL) as error:
        return Reply(error=type(error).__name__, sent=False)
    except requests.exceptions.RequestException as error:
        return Reply(error=type(error).__name__, sent=not _never_connected(error))
    return _reply(response, write_key)


def _reply(response: requests.Response, write_key: str) -> Reply:
    excerpt = response.text[:EXCERPT].replace(write_key, "[write key]").strip()
    retry_after = library.parse_retry_after(response)
    return Reply(response.status_code, excerpt, bool(response.history), retry_after or None)


def _never_connected(error: Exception) -> bool:
    """Whether no byte can have left: the name did not resolve, or nobody took the connection."""
    text = repr(error)
    return "NewConnectionError" in text or "NameResolutionError" in text or "SSLError" in text
