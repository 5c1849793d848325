"""The marketplace's back end: tells the collector of real installs, app requests and uninstalls.

The surprising thing: a click on "Get it now" is not an install. Only this call, made after the visitor confirmed, is.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal
from uuid import uuid4

import msgspec

from collector.demo.listing import App
from collector.demo.loopback import Refused, exchange
from collector.demo.people import Person

Door = Literal["installs", "app-requests", "uninstalls"]

# The snippet's cookie: first visit in base 36, a dot, the anonymous id.
_VISITOR_COOKIE = re.compile(r"[0-9a-z]{1,12}\.([0-9a-f]{40})", re.ASCII)


class Report(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The body of one call to the back end door; an unknown anonymous id is absent, not null."""

    app: str
    account_id: str
    occurred_at: str
    message_id: str
    anonymous_id: str = ""


def door_for(app: App) -> Door:
    """Where a confirmed call to action leads: request-only apps are requested, all others installed."""
    return "app-requests" if app.pricing == "request" else "installs"


def anonymous_id(cookie: str) -> str:
    """The visitor's anonymous id out of the snippet's cookie; empty when there is none or it is malformed."""
    found = _VISITOR_COOKIE.fullmatch(cookie)
    return found[1] if found else ""


def report(app: App, person: Person, visitor: str, occurred_at: datetime) -> Report:
    """What the back end says about one act of one person."""
    instant = occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Report(app.key, person.account_id, instant, str(uuid4()), visitor)


def send(collector: str, token: str, door: Door, act: Report) -> None:
    """Post one report. Raises `Refused` (also when it was rejected, with the reason) or `Unavailable`."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = exchange("POST", f"{collector}/api/v1/{door}", headers, msgspec.json.encode(act)).json
    rejected = answer.get("rejected") if isinstance(answer, dict) else None
    if rejected:
        raise Refused(f"rejected: {rejected[0].get('reason', 'no reason given')}")
