"""What a partner's own systems say of one of its apps, whichever door it came through, as a row of the event log.

Each door reads its senders' dialect into a `Told`; here it becomes an event whose source is the partner. It is the
partner's to begin with, so that it is shown, counted and attributed, and never sent to a destination (store/fate.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from collector.catalogue import Catalogue
from collector.directory import Directory
from collector.ingest import Arrival
from collector.network import mark
from store.errors import Refused
from store.event import PARTNER, Details, encode_details
from store.event_rules import RESERVED
from store.ids import is_partner_anonymous_id, message_id, uuid7
from store.registry import App
from store.secrets import Vault
from wire.postback import is_own

MOST_CHARACTERS = 200  # of an id, and of an event's name
MAX_MESSAGE_BYTES = 32_768  # as Segment's own limit for one message
RESERVED_KEYS = "reserved_keys"  # a flag: properties are among those that are kept for somebody else's use


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One message in the form that all doors share. What is empty or all zeros was left out by the door.

    `type` is Segment's; `name` is a track call's event name, or a page's or a screen's; `occurred_at` is epoch
    milliseconds by our clock. `ids` are a device's or a link's, by kind. `campaign` has the keys of Segment's spec.
    `seen_from` is somebody's address, told only when they agreed that it counts: it is stored nowhere.
    """

    door: str
    type: str
    name: str = ""
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    occurred_at: int
    ids: dict[str, str] = {}
    campaign: dict[str, str] = {}
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    flags: list[str] = []
    user_agent: str | None = None
    locale: str | None = None
    seen_from: str | None = None


class Means(NamedTuple):
    """What it takes, beside the message, to make a row of it."""

    vault: Vault
    catalogue: Catalogue
    directory: Directory


def arrival(app: App, told: Told, received_at: int, means: Means) -> Arrival:
    """A message as a row. Raises Refused when it names nobody, an id or a name cannot be kept, or its event is not to
    come in."""
    _check(told)
    identity, identity_text = message_id(told.message_id or str(uuid7(received_at)), app.app_key)
    details = Details(
        user_agent=told.user_agent,
        locale=told.locale,
        message_id=identity_text,
        door=told.door,
        ids=told.ids or None,
        campaign=told.campaign or None,
        properties=told.properties or None,
        context=told.context or None,
        flags=_flags(told) or None,
        network=_network(app, told, means) if told.seen_from else None,
    )
    encoded = encode_details(details)
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise Refused("too_large", f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    if told.type == "track":
        means.catalogue.admit(app.app_key, told.name)  # the last, so that no name is known of which nothing is stored
    row = (
        app.app_key,
        identity,
        told.type,
        told.name,
        PARTNER,
        told.occurred_at,
        received_at,
        app.partner_key,
        told.anonymous_id or means.vault.anonymous_id_for(_known_as(told)),
        told.user_id,
        told.anonymous_id if told.anonymous_id and is_partner_anonymous_id(told.anonymous_id) else None,
        None,
        encoded.decode(),
    )
    return Arrival(row)


def _check(told: Told) -> None:
    """Raises Refused."""
    if is_own(told.name, told.properties, told.context):
        raise Refused("own_attribution", "it is our own Install Attributed, come back")
    if not told.anonymous_id and not told.user_id and not told.ids:
        raise Refused("no_user", "an anonymousId, a userId or the id of a device is needed - at `$`")
    if told.type == "track" and not told.name:
        raise Refused("no_event", "a track call names its event - at `$.event`")
    together = f"{told.name}{told.anonymous_id}{told.user_id}"
    if told.ids or len(together) > MOST_CHARACTERS or "\0" in together:
        named = [("event", told.name), ("anonymousId", told.anonymous_id), ("userId", told.user_id)]
        _check_each([*named, *told.ids.items()])


def _check_each(texts: list[tuple[str, str | None]]) -> None:
    for what, text in texts:
        if text and (len(text) > MOST_CHARACTERS or "\0" in text):
            raise Refused("invalid", f"at most {MOST_CHARACTERS} characters, none of them NUL - at `$.{what}`")


def _flags(told: Told) -> list[str]:
    if told.type != "track" or RESERVED.isdisjoint(told.properties) or RESERVED_KEYS in told.flags:
        return told.flags
    return [*told.flags, RESERVED_KEYS]


def _network(app: App, told: Told, means: Means) -> str | None:
    """What is kept of the address, where the app's rules match by it."""
    if told.seen_from is None or not means.directory.by_network(app.app_key):
        return None
    return mark(means.vault, app.app_key, told.seen_from, told.user_agent)


def _known_as(told: Told) -> str:
    """Whom a stand-in for an anonymous id is made of: the same one every time."""
    if told.user_id:
        return told.user_id
    kind = min(told.ids)
    return f"{kind}\n{told.ids[kind]}"
