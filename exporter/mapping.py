"""What a partner gets: an event of the log as a Segment message, in the profile that its destination asked for.

Messages are built in exactly the form that segment-analytics-python's own `track` would leave them in (a test compares
the two), without the four passes over each message that `track` makes. An absent field is absent, never null.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from store.errors import Refused
from store.event import Details, Event, decode_details
from store.ids import destination_message_id
from store.registry import App, Destination

LIBRARY = {"name": "analytics-python", "version": "2.4.0"}
MAX_MESSAGE_BYTES = 32_768  # measured as ASCII-escaped JSON, as Segment's library measures it

EVENT_NAMES = {
    "page_view": "User event",
    "tab_click": "User event",
    "cta_click": "User event",
    "install": "Install event",
    "app_request": "App request event",
    "uninstall": "Uninstall event",
}
_SUBJECTS = {"page_view": "page", "tab_click": "tab", "cta_click": "button"}

Message = dict[str, Any]


class Mapped(msgspec.Struct, frozen=True):
    """One event's way: a message with its size in bytes, or why there is none."""

    event: Event
    message_id: str = ""
    message: Message | None = None
    size: int = 0
    suppressed: str = ""
    parked: Refused | None = None


def map_event(event: Event, app: App, destination: Destination, namespace: UUID, prefix: str) -> Mapped:
    """One event for one destination. `namespace` is the destination's id."""
    reason = suppression(event, app, destination)
    if reason:
        return Mapped(event, suppressed=reason)
    message_id = destination_message_id(namespace, event.message_id)
    try:
        message = to_message(event, app, destination.profile, message_id, prefix)
        size = len(json.dumps(message))
        if size > MAX_MESSAGE_BYTES:
            raise Refused("too_large", f"{size} bytes; Segment takes {MAX_MESSAGE_BYTES}")
    except Refused as refused:
        return Mapped(event, message_id, parked=refused)
    except (ValueError, TypeError) as error:  # an event that cannot be mapped must not hold up its neighbours
        return Mapped(event, message_id, parked=Refused("unmappable", type(error).__name__))
    return Mapped(event, message_id, message, size)


def suppression(event: Event, app: App, destination: Destination) -> str:
    """Why this destination may not get this event; '' when it may."""
    if event.suppressed:
        return event.suppressed
    if event.partner_key != app.partner_key:
        return "partner_changed"  # collected for another partner: no byte of it is this one's
    if event.name == "uninstall" and not destination.uninstalls:
        return "not_asked_for"
    return ""


def to_message(event: Event, app: App, profile: str, message_id: str, prefix: str) -> Message:
    """Raises Refused when the event has no name that a partner knows."""
    name = EVENT_NAMES.get(event.name)
    if name is None:
        raise Refused("unknown_event", event.name)
    details = decode_details(event.details)
    time = _time(event.occurred_at)
    properties = _properties(event, details, app, time)
    message: Message = {"integrations": {}, "properties": properties, "timestamp": time + "+00:00"}
    if profile == "segment":
        if event.name in _SUBJECTS:
            properties["actionSubject"] = _SUBJECTS[event.name]
        message["context"] = _context(details)
        message["anonymousId"] = event.anonymous_id
        if event.user_id:
            message["userId"] = event.user_id
    else:
        message["context"] = {"library": LIBRARY}
        message["userId"] = event.anonymous_id
    message["type"] = event.type
    message["event"] = f"{prefix} {name}"
    message["messageId"] = message_id
    return message


def _time(epoch_ms: int) -> str:
    """ISO 8601 with milliseconds and without a zone, by whole numbers."""
    seconds, milliseconds = divmod(epoch_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}"


def _properties(event: Event, details: Details, app: App, time: str) -> dict[str, Any]:
    """The documented properties; what is unknown is left out at the end."""
    properties: dict[str, Any] = {
        "anonymousId": event.anonymous_id,
        "eventTime": time + "Z",
        "eventType": "Track",
        "partnerId": app.partner_id,
        "pluginId": app.plugin_id,
        "pluginKey": app.app_key,
    }
    if event.partner_anonymous_id:
        properties["partnerAnonymousId"] = event.partner_anonymous_id
    if event.user_id:
        properties["userId"] = event.user_id
    if event.name in _SUBJECTS:
        viewed = event.name == "page_view"
        acted = {
            "action": "viewed" if viewed else "clicked",
            "actionSubjectId": _path(details.url) if viewed else details.target,
            "label": details.title if viewed else details.label,
            "queryParamsJson": details.query if details.query is not None else {},
            "referrerUrl": details.referrer,
            "url": details.url,
        }
        properties.update({key: value for key, value in acted.items() if value is not None})
    return properties


def _path(url: str | None) -> str | None:
    if url is None:
        return None
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    return "/" + path


def _context(details: Details) -> dict[str, Any]:
    """Segment's own context fields, for the profile that asks for them."""
    context: dict[str, Any] = {"library": LIBRARY}
    if details.url is not None:
        _, question, search = details.url.partition("?")
        page = {
            "path": _path(details.url),
            "referrer": details.referrer,
            "search": question + search,
            "title": details.title,
            "url": details.url,
        }
        context["page"] = {key: value for key, value in page.items() if value is not None}
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
