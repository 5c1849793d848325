"""One message as Segment's clients write it, read into the form that all partners' doors share.

Liberal in what its senders disagree on: null and missing are alike, and so are an empty id and none. Strict in what an
id means: all zeros name nobody. What was in Segment already carries `receivedAt`, and its clock is not corrected again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from attribution import claims
from attribution.claims import Claim
from collector.doors.partner import Told
from collector.doors.wire import DAY_MS, YEAR_2000_MS, milliseconds
from collector.scrub import scrub
from store.errors import Refused

TYPES = ("track", "identify", "page", "screen", "group", "alias")
MAX_DEPTH = 50  # of objects and lists in one another
MOST_CAMPAIGN_PARTS = 50
MOST_REMEMBERED = 1_000  # characters of a campaign …
MOST_CLAIMS = 2_048  # … and how many campaigns
MOST_MESSAGE_ID_CHARACTERS = 100

Stated = str | int | None  # ISO 8601, or epoch milliseconds


class Message(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The fields of Segment's spec that count here; all others are passed over."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: Stated = None
    original_timestamp: Stated = None
    received_at: Stated = None


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What the request says of all its messages: `type` is its path's, '' when each names its own; `sent_at` is the
    sender's clock; `passed_on`: Segment had them, and sends them."""

    door: str
    received_at: int
    type: str = ""
    sent_at: int | None = None
    context: dict[str, Any] = {}
    passed_on: bool = False


def told(message: Message, facts: Facts) -> Told:
    """Raises Refused."""
    kind = facts.type or message.type or ""
    if kind == "delete":
        raise Refused("deletion", "a person is to be deleted, which the marketplace's operator does by hand: ask there")
    if kind not in TYPES:
        raise Refused("invalid", f"a type is one of {', '.join(TYPES)} - at `$.type`")
    context = _context(message, facts)
    ids = _device_ids(context["device"], context) if "device" in context else {}
    if kind == "alias":
        ids["previous_id"] = _previous(message)
    claim = _claim(context["campaign"]) if "campaign" in context else claims.NONE
    user_agent, locale = context.get("userAgent"), context.get("locale")
    return Told(
        door=facts.door,
        type=kind,
        name=_name(kind, message),
        message_id=_message_id(message.message_id),
        anonymous_id=present(message.anonymous_id),
        user_id=present(message.user_id),
        occurred_at=_occurred_at(message, facts),
        ids=ids,
        campaign=claim.campaign,
        flags=claim.flags,
        properties=_properties(kind, message),
        context=_rest(context),
        user_agent=user_agent[:512] if isinstance(user_agent, str) and user_agent else None,
        locale=locale[:35] if isinstance(locale, str) and locale else None,
        seen_from=_seen_from(message.context) if message.context and "consent" in message.context else None,
    )


def present(text: str | None) -> str | None:
    """An id, or None when it names nobody: empty, blank, or all zeros."""
    if not text or not text.strip(" \t\r\n0-"):
        return None
    return text


def _rest(context: dict[str, Any]) -> dict[str, Any]:
    """Without what has a place of its own in what is stored."""
    rest = context.copy()
    for name in ("userAgent", "locale", "campaign"):
        rest.pop(name, None)
    return rest


def _message_id(text: str | None) -> str | None:
    if text and len(text) > MOST_MESSAGE_ID_CHARACTERS:
        raise Refused("invalid", f"at most {MOST_MESSAGE_ID_CHARACTERS} characters - at `$.messageId`")
    return text or None


def _previous(message: Message) -> str:
    """As whom an alias was known before."""
    if not (previous := present(message.previous_id)):
        raise Refused("no_previous", "an alias call names who it was before - at `$.previousId`")
    return previous


def _name(kind: str, message: Message) -> str:
    if kind == "track":
        return message.event or ""
    if kind not in ("page", "screen"):
        return ""
    name = message.name or (message.properties or {}).get("name")
    return name if isinstance(name, str) else ""


# --- what is said of it


def _context(message: Message, facts: Facts) -> dict[str, Any]:
    """The message's own over the request's, name by name."""
    own = message.context
    context = cleaned({**facts.context, **own} if own and facts.context else own or facts.context, "context")
    page = context.get("page")
    if isinstance(page, dict) and (scrubbed := _scrubbed(page)) is not page:
        return {**context, "page": scrubbed}
    return context


def _properties(kind: str, message: Message) -> dict[str, Any]:
    """Or the traits. What a group, a page or a screen has beside them is put among them."""
    given = message.traits if kind in ("identify", "group") else message.properties
    properties = cleaned(given or {}, "properties")
    if kind == "group":
        if not (group := present(message.group_id)):
            raise Refused("no_group", "a group call names its group - at `$.groupId`")
        return {**properties, "groupId": group}
    if kind not in ("page", "screen"):
        return properties
    if message.category and "category" not in properties:
        properties = {**properties, "category": message.category}
    return _scrubbed(properties)


_ADDRESSES = ("url", "referrer", "search")


def _scrubbed(page: dict[str, Any]) -> dict[str, Any]:
    """Addresses without what no address may keep."""
    kept = page
    for name in _ADDRESSES:
        address = page.get(name)
        if isinstance(address, str) and (scrubbed := scrub(address).url) != address:
            kept = {**kept, name: scrubbed}
    return kept


def cleaned(part: dict[str, Any], where: str) -> dict[str, Any]:
    """Without network addresses, which are stored nowhere. Raises Refused when it is nested too deeply."""
    return part if _is_clean(part, where, MAX_DEPTH) else _without_addresses(part)


# As the clients and the servers before us are known to call them.
NETWORK_ADDRESSES = frozenset(
    {"ip", "IP", "Ip", "ipAddress", "ip_address", "IPAddress", "ipaddress", "IpAddress", "ipv4", "ipv6", "IPv4", "IPv6"}
    | {"remoteAddr", "remote_addr", "remoteAddress", "remote_address", "REMOTE_ADDR", "clientIp", "clientIP"}
    | {"client_ip", "requestIp", "requestIP", "request_ip", "userIp", "userIP", "user_ip", "realIp", "real_ip"}
    | {
        "x-forwarded-for",
        "X-Forwarded-For",
        "xForwardedFor",
        "x_forwarded_for",
        "x-real-ip",
        "X-Real-IP",
        "$ip",
        "__ip",
    }
)


def _is_clean(part: Any, where: str, depth: int) -> bool:
    if depth == 0:
        raise Refused("too_deep", f"at most {MAX_DEPTH} objects and lists in one another - at `$.{where}`")
    if type(part) is dict:
        if not NETWORK_ADDRESSES.isdisjoint(part):
            _is_clean([value for name, value in part.items() if name not in NETWORK_ADDRESSES], where, depth)
            return False
        part = part.values()
    clean = True
    for value in part:
        kind = type(value)
        if kind is str or kind is int:
            continue  # as most are
        if (kind is dict or kind is list) and not _is_clean(value, where, depth - 1):
            clean = False
    return clean


def _without_addresses(part: Any) -> Any:
    if isinstance(part, dict):
        return {n: _without_addresses(value) for n, value in part.items() if n not in NETWORK_ADDRESSES}
    return [_without_addresses(item) for item in part] if isinstance(part, list) else part


# --- whose device


def _device_ids(device: Any, context: dict[str, Any]) -> dict[str, str]:
    """A device's ids by kind. Which kinds `id` and `advertisingId` are is for the make of the device to say."""
    if not isinstance(device, dict):
        return {}
    advertising, own = _KINDS.get(_make(device, context), ("advertising_id", "device_id"))
    named = [(advertising, device.get("advertisingId")), (own, device.get("id"))]
    named += [(kind, device.get(name)) for name, kind in _DEVICE_IDS.items()]
    return {kind: value for kind, value in named if isinstance(value, str) and present(value)}


def _make(device: dict[str, Any], context: dict[str, Any]) -> str:
    system = context.get("os")
    make = device.get("type") or (system.get("name") if isinstance(system, dict) else None)
    return make.lower() if isinstance(make, str) else ""


_APPLE, _ANDROID = ("idfa", "idfv"), ("adid", "android_id")
_KINDS = {"android": _ANDROID} | dict.fromkeys(("ios", "ipados", "tvos", "visionos", "watchos", "iphone os"), _APPLE)
_DEVICE_IDS = {
    "idfa": "idfa",
    "idfv": "idfv",
    "adid": "adid",
    "gaid": "adid",
    "androidId": "android_id",
    "android_id": "android_id",
}


# --- where they were


def _seen_from(own: dict[str, Any]) -> str | None:
    """The address that a message's own context tells of somebody who agreed that it counts. What a batch says of all
    its messages is nobody's word."""
    address = own.get("ip")
    return address if isinstance(address, str) and _agreed(own) else None


def _agreed(context: dict[str, Any]) -> bool:
    """Whether the category Advertising has a yes, in each of its spellings, and DataSharing and tracking have no no."""
    consent, device = context["consent"], context.get("device")
    preferences = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(preferences, dict) or (isinstance(device, dict) and device.get("adTrackingEnabled") is False):
        return False
    said = [(_BETWEEN.sub("", name).lower(), value) for name, value in preferences.items()]
    asked = [value for name, value in said if name in ("advertising", "datasharing")]
    return any(name == "advertising" for name, _ in said) and all(value is True for value in asked)


_BETWEEN = re.compile(r"[ _-]+")


# --- which campaign


def _claim(given: Any) -> Claim:
    """What `context.campaign` claims. A campaign has many events: what is plain of it is worked out once."""
    if not isinstance(given, dict):
        return claims.NONE
    parts = tuple(given.items())
    try:
        return _claims[parts]
    except (KeyError, TypeError):  # one of the values may be an object
        claim = claims.from_context(_campaign(given))
    if _TEXTS.issuperset(map(type, given.values())) and sum(map(len, chain(*parts))) <= MOST_REMEMBERED:
        if len(_claims) >= MOST_CLAIMS:
            _claims.clear()
        _claims[parts] = claim
    return claim


_claims: dict[tuple[tuple[str, str], ...], Claim] = {}


def _campaign(given: dict[str, Any]) -> dict[str, str]:
    """By the names of Segment's spec; where a part is there under two, the spec's own counts."""
    parts: dict[str, str] = {}
    for name in sorted(given, key=lambda name: name != part_of(name)):
        value = given[name]
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            parts.setdefault(part_of(name), str(value))
    if len(parts) > MOST_CAMPAIGN_PARTS:
        raise Refused("invalid", f"at most {MOST_CAMPAIGN_PARTS} parts - at `$.context.campaign`")
    return parts


def part_of(name: str) -> str:
    """What a campaign's part is called: without `utm_`, and in small letters with `_` between the words."""
    return _part_of(name[:200])


@lru_cache(maxsize=1024)
def _part_of(name: str) -> str:
    name = name.removeprefix("utm_")
    return "name" if name == "campaign" else _HUMP.sub(r"\1_\2", name).lower()


_TEXTS = frozenset({str})
_HUMP = re.compile(r"([a-z0-9])([A-Z])")


# --- when


def _occurred_at(message: Message, facts: Facts) -> int:
    """By our clock, in epoch ms: the sender's clock corrected by when it says it sent. Raises Refused."""
    received_at = facts.received_at
    timestamp, original = _stated(message.timestamp), _stated(message.original_timestamp)
    if timestamp is not None and (facts.passed_on or message.received_at is not None):
        stated, sent_at = moment(timestamp, "timestamp"), None  # Segment has corrected it
    elif original is not None:
        stated, sent_at = moment(original, "originalTimestamp"), facts.sent_at
    elif timestamp is not None:
        stated, sent_at = moment(timestamp, "timestamp"), facts.sent_at
    else:
        return received_at
    corrected = stated if sent_at is None else stated + received_at - sent_at
    occurred = corrected if YEAR_2000_MS <= corrected <= received_at + DAY_MS else stated
    if YEAR_2000_MS <= occurred <= received_at + DAY_MS:
        return min(occurred, received_at)
    raise Refused("invalid", "the time is not between the year 2000 and tomorrow - at `$.timestamp`")


def _stated(time: Stated) -> Stated:
    return None if time == "" else time


def moment(stated: str | int, field: str) -> int:
    """Epoch ms; without a zone, UTC is meant. Raises Refused."""
    if isinstance(stated, int):
        return stated
    try:
        parsed = datetime.fromisoformat(stated)
    except ValueError:
        raise Refused("invalid", f"this is no time as ISO 8601 writes it - at `$.{field}`") from None
    return milliseconds(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
