"""What a partner gets: an event of the log as a Segment message, in the profile that its destination asked for.

Messages have exactly the form in which segment-analytics-python's own `track` would leave them (a test compares the
two), but are typed and encoded once, where `track` and `post` pass over each of them six times. What is unknown is
absent, never null.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from store.destinations import Destination
from store.errors import Refused
from store.event import Details, Event
from store.fate import withheld
from store.ids import destination_message_ids
from store.registry import App

LIBRARY = {"name": "analytics-python", "version": "2.4.0"}
MAX_MESSAGE_BYTES = 32_768

EVENT_NAMES = {
    "page_view": "User event",
    "tab_click": "User event",
    "cta_click": "User event",
    "install": "Install event",
    "app_request": "App request event",
    "uninstall": "Uninstall event",
}
_SUBJECTS = {"page_view": "page", "tab_click": "tab", "cta_click": "button"}


class Properties(Struct, frozen=True, omit_defaults=True, kw_only=True, rename="camel", gc=False):
    """The documented properties; None is unknown."""

    action: str | None = None
    action_subject: str | None = None  # profile segment only
    action_subject_id: str | None = None
    anonymous_id: str
    event_time: str
    event_type: str
    label: str | None = None
    partner_id: str
    plugin_id: str
    partner_anonymous_id: str | None = None
    plugin_key: str
    query_params_json: dict[str, str] | None = None
    referrer_url: str | None = None
    url: str | None = None
    user_id: str | None = None


class Message(Struct, frozen=True, omit_defaults=True, kw_only=True, rename="camel", gc=False):
    """A track call as it goes into a batch."""

    integrations: msgspec.Raw
    properties: Properties
    timestamp: str
    context: dict[str, Any] | msgspec.Raw
    anonymous_id: str | None = None
    user_id: str | None = None
    type: str
    event: str
    message_id: str


class Mapped(Struct, frozen=True, gc=False):
    """One event's way: the encoded message, or why there is none."""

    event: Event
    message_id: str = ""
    wire: bytes = b""
    suppressed: str = ""
    parked: Refused | None = None


class Mapper:
    """Maps one app's events for one of its destinations; whatever it can, it works out once."""

    def __init__(self, app: App, destination: Destination, prefix: str, ids_from: str = "") -> None:
        """Ids are made from the destination's own, or from another UUID: a replay's, when it is to have new ones."""
        self._app = app
        self._destination = destination
        self._in_full = destination.profile == "segment"
        self._message_id = destination_message_ids(UUID(ids_from or destination.destination_id))
        self._names = {name: f"{prefix} {told}" for name, told in EVENT_NAMES.items()}

    def map(self, event: Event) -> Mapped:
        """One event; what cannot be mapped is to be parked, so that it holds up no neighbour."""
        reason = withheld(event, self._app, self._destination)
        if reason:
            return Mapped(event, suppressed=reason)
        message_id = self._message_id(event.message_id)
        try:
            wire = _encode(self._message(event, message_id))
            # An escaped character is at most six times as long.
            if 6 * len(wire) > MAX_MESSAGE_BYTES and (size := library_size(wire)) > MAX_MESSAGE_BYTES:
                raise Refused("too_large", f"{size} bytes; Segment takes {MAX_MESSAGE_BYTES}")
        except Refused as refused:
            return Mapped(event, message_id, parked=refused)
        except Exception as error:
            return Mapped(event, message_id, parked=Refused("unmappable", type(error).__name__))
        return Mapped(event, message_id, wire)

    def _message(self, event: Event, message_id: str) -> Message:
        """Raises Refused when the event has no name that a partner knows, no visitor (Segment would drop it unsaid), or
        details that cannot be read."""
        name = self._names.get(event.name)
        if name is None:
            raise Refused("unknown_event", event.name)
        if not event.anonymous_id:
            raise Refused("no_visitor")
        details = event.details
        if details is None:
            raise Refused("unmappable", "its details cannot be read")
        time = _time(event.occurred_at)
        in_full = self._in_full
        return Message(
            integrations=_NOTHING,
            properties=_properties(event, details, self._app, time + "Z", in_full),
            timestamp=time + "+00:00",
            context=_context(details) if in_full else _LIBRARY_ONLY,
            anonymous_id=event.anonymous_id if in_full else None,
            user_id=(event.user_id or None) if in_full else event.anonymous_id,
            type=event.type,
            event=name,
            message_id=message_id,
        )


def library_size(wire: bytes) -> int:
    """Bytes of a message as Segment's library measures them: as JSON with every character escaped that is not ASCII."""
    return len(json.dumps(msgspec.json.decode(wire)))


_encode = msgspec.json.Encoder().encode
_NOTHING = msgspec.Raw(b"{}")
_LIBRARY_ONLY = msgspec.Raw(msgspec.json.encode({"library": LIBRARY}))


def _time(epoch_ms: int) -> str:
    """ISO 8601 with milliseconds and without a zone, by whole numbers."""
    seconds, milliseconds = divmod(epoch_ms, 1_000)
    return _second(seconds) + _MILLISECONDS[milliseconds]


def iso_time(epoch_ms: int) -> str:
    """As events have it in their properties: 2026-02-16T12:00:00.123Z."""
    return _time(epoch_ms) + "Z"


_MILLISECONDS = tuple(f".{number:03d}" for number in range(1_000))


@lru_cache(maxsize=4096)
def _second(epoch_seconds: int) -> str:
    return f"{datetime.fromtimestamp(epoch_seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _properties(event: Event, details: Details, app: App, time: str, in_full: bool) -> Properties:
    """Of an act on a listing, or of what a back end told."""
    subject = _SUBJECTS.get(event.name)
    if subject is None:
        return Properties(
            anonymous_id=event.anonymous_id,
            event_time=time,
            event_type="Track",
            partner_id=app.partner_id,
            plugin_id=app.plugin_id,
            plugin_key=app.app_key,
            partner_anonymous_id=event.partner_anonymous_id or None,
            user_id=event.user_id or None,
        )
    viewed = subject == "page"
    return Properties(
        anonymous_id=event.anonymous_id,
        event_time=time,
        event_type="Track",
        partner_id=app.partner_id,
        plugin_id=app.plugin_id,
        plugin_key=app.app_key,
        partner_anonymous_id=event.partner_anonymous_id or None,
        user_id=event.user_id or None,
        action="viewed" if viewed else "clicked",
        action_subject=subject if in_full else None,
        action_subject_id=(_path(details.url) if viewed else details.target) or None,
        label=(details.title if viewed else details.label) or None,
        query_params_json=details.query or {},  # known to be empty
        referrer_url=details.referrer or None,
        url=details.url or None,
    )


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is unknown."""
    return {key: value for key, value in values.items() if value not in (None, "")}


@lru_cache(maxsize=256)
def _path(url: str | None) -> str | None:
    if not url:
        return None
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    return "/" + path


def _context(details: Details) -> dict[str, Any]:
    """Segment's own context fields, for the profile that asks for them."""
    context: dict[str, Any] = {"library": LIBRARY}
    if details.url:
        _, question, search = details.url.partition("?")
        page = {
            "path": _path(details.url),
            "referrer": details.referrer,
            "search": question + search,
            "title": details.title,
            "url": details.url,
        }
        context["page"] = _known(page)
    campaign = _campaign(details.query or {})
    if campaign:
        context["campaign"] = campaign
    if details.user_agent:
        context["userAgent"] = details.user_agent
    if details.locale:
        context["locale"] = details.locale
    return context


def _campaign(query: dict[str, str]) -> dict[str, str]:
    """UTM parameters as Segment names them: `utm_campaign` is `name`, the others drop their prefix."""
    found = {key[4:]: value for key, value in query.items() if key.startswith("utm_") and len(key) > 4 and value}
    if "campaign" in found:
        found["name"] = found.pop("campaign")
    return found
