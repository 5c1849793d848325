"""A server-to-server call in Kochava's form, in the dialect of whoever sent it, as what all doors tell.

Pure. Senders disagree on nearly every field (docs/reference/kochava.md), so that what can be understood is, and what is
odd is flagged; only who it is about is read strictly. An address of a device is looked at, and never kept.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec

from attribution import claims
from attribution.claims import Claim
from collector.doors.identity import is_of_a_test, known
from collector.doors.partner import Told
from collector.doors.segment_message import NETWORK_ADDRESSES
from collector.doors.wire import DAY_MS, YEAR_2000_MS, milliseconds
from store.errors import Refused
from store.feed import INSTALLED

DOOR = "kochava"
CLICKED, SEEN = "Click", "Impression"
ACTIONS = ("install", "event", "update", "identityLink", "click", "impression")
ONCE = frozenset({"install", "update", "identityLink"})  # that say the same however often they come
ADDRESSES = frozenset({"origination_ip", "device_ip", *(name.lower() for name in NETWORK_ADDRESSES)})
DEVICE_IDS = ("idfa", "idfv", "adid", "android_id", "openudid", "udid", "imei", "mac", "oaid", "amazon_adid")
MOST_DEPTH = 60
MOST_IDS = 30
MOST_AGENT_CHARACTERS = 1_000
_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


class Call(msgspec.Struct, frozen=True):
    """One call as it is kept: its action, its fields without addresses, and whether its address was none. `address` is
    the device's, which is stored nowhere."""

    action: str
    fields: dict[str, Any]
    data: dict[str, Any]
    bad_address: bool = False
    address: str | None = None


def call_of(message: Any, action: Any) -> Call:
    """A decoded message as a call; `action` is what it says that it is. Raises Refused when it is none."""
    if not isinstance(message, dict):
        raise Refused("invalid", "a call is an object - at `$`")
    data = message.get("data")
    if not isinstance(data, dict | None):
        raise Refused("invalid", "an object is expected - at `$.data`")
    named = _ACTIONS.get(action.lower()) if isinstance(action, str) else None
    if named is None:
        raise Refused("unknown_action", f"one of {', '.join(ACTIONS)} - at `$.action`")
    cleaned = clean(message)
    fields = {key: value for key, value in cleaned.items() if key not in ("action", "data")}
    addresses = [value for part in (message, data or {}) for key, value in part.items() if key.lower() in ADDRESSES]
    bad = any(_is_bad(value) for value in addresses)
    return Call(named, fields, cleaned.get("data") or {}, bad, _address(message, data or {}))


_ACTIONS = {action.lower(): action for action in ACTIONS}


def clean(value: Any, depth: int = 0) -> Any:
    """A decoded value without addresses, and without characters that no database keeps. Raises Refused."""
    if depth > MOST_DEPTH:
        raise Refused("too_deep", f"at most {MOST_DEPTH} levels - at `$`")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [clean(each, depth + 1) for each in value]
    if isinstance(value, dict):
        kept = ((key, each) for key, each in value.items() if key.lower() not in ADDRESSES)
        return {clean(key): clean(each, depth + 1) for key, each in kept}
    return value


def _address(*places: dict[str, Any]) -> str | None:
    """The device's, when it is said once or alike."""
    said = {address for place in places if isinstance(address := place.get("origination_ip"), str)}
    return said.pop() if len(said) == 1 else None


def _is_bad(value: Any) -> bool:
    """Whether an address is there, and is none."""
    if value in (None, ""):
        return False
    try:
        ip_address(str(value).strip())
    except ValueError:
        return True
    return False


def app_guid(message: Any) -> str:
    """The app that a message names, however it spells it; '' for none."""
    if not isinstance(message, dict):
        return ""
    data = message.get("data")
    places = [message, data] if isinstance(data, dict) else [message]
    values = (place.get(key) for place in places for key in ("kochava_app_id", "app_id", "app_guid"))
    return next((value for value in values if isinstance(value, str) and value), "")


def told(call: Call, came_at: int) -> Told:
    """What a call tells, without a message id. `came_at` is when it came, epoch milliseconds, by our clock."""
    flags = ["bad_address"] if call.bad_address else []
    stated = _first(call, "usertime", "user_time", "timestamp")
    occurred = moment(stated, came_at)
    if occurred is None and stated not in (None, ""):
        flags.append("bad_time")
    ids = _ids(call, flags)
    claim = _claim(call)
    properties = _properties(call, flags)
    flags += claim.flags
    if any(is_of_a_test(text) for text in ids.values()):
        flags.append("test_id")
    version = _text(_first(call, "app_short_string")) or _text(_first(call, "app_version", "app_ver"))
    return Told(
        door=DOOR,
        type="identify" if call.action in ("update", "identityLink") else "track",
        name=_name(call),
        anonymous_id=known(_first(call, "anonymousId", "anonymous_id")),
        user_id=_user(call),
        occurred_at=came_at if occurred is None else occurred,
        ids=ids,
        campaign=claim.campaign,
        properties=properties,
        context=_context(call, version),
        flags=list(dict.fromkeys(flags)),
        user_agent=agent(_first(call, "device_ua", "user_agent")),
        locale=_text(_first(call, "locale", "language"))[:100] or None,
        seen_from=call.address if _agreed(call) else None,
    )


def _first(call: Call, *keys: str) -> Any:
    """The first of these fields that is there, in the data or beside it."""
    return next((place[key] for key in keys for place in (call.data, call.fields) if place.get(key) is not None), None)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return str(value).strip()


def _name(call: Call) -> str:
    if call.action == "install":
        return INSTALLED
    if call.action == "click":
        return CLICKED
    if call.action == "impression":
        return SEEN
    return _text(_first(call, "event_name", "eventName")) if call.action == "event" else ""


# --- when


def moment(stated: Any, came_at: int) -> int | None:
    """Epoch milliseconds of a time in any of its spellings: seconds, milliseconds, their digits, ISO 8601.

    None for what is no time, or lies before 2000 or after tomorrow; never after `came_at`.
    """
    value: float | None = None
    if isinstance(stated, (int, float)) and not isinstance(stated, bool):
        value = stated
    elif isinstance(stated, str) and _DIGITS.match(stated.strip()):
        value = float(stated)
    elif isinstance(stated, str):
        value = _from_iso(stated.strip())
    if value is None or not 0 < value < 1e17:  # what is no number at all is not either
        return None
    at = int(value if value > 1e11 else value * 1_000)
    return min(at, came_at) if YEAR_2000_MS <= at <= came_at + DAY_MS else None


_DIGITS = re.compile(r"[0-9]{1,17}(\.[0-9]{1,9})?\Z")


def _from_iso(text: str) -> float | None:
    if not 8 < len(text) < 40:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return milliseconds(read if read.tzinfo else read.replace(tzinfo=UTC))


# --- who


def _ids(call: Call, flags: list[str]) -> dict[str, str]:
    """A device's ids and a link's, by kind. Raises Refused when there are more than anybody has."""
    pairs = [*_device_ids(call)]
    if call.action == "identityLink":
        pairs += [(kind, value) for kind, value in call.data.items() if kind not in _NO_LINKS]
    ids: dict[str, str] = {}
    for kind, value in pairs:
        text = known(value)
        if text is not None and kind:
            ids.setdefault(kind[:100], text)
    refused = [kind for kind in ids if kind == "idfa" or kind.startswith("idfa_")] if _tracking(call) is False else []
    if refused:
        ids = {kind: text for kind, text in ids.items() if kind not in refused}
        flags.append("idfa_refused")
    if len(ids) > MOST_IDS:
        raise Refused("invalid", f"at most {MOST_IDS} ids - at `$.data`")
    return ids


# What stands beside a link's names and says something else.
_NO_LINKS = frozenset(
    "usertime user_time timestamp app_version app_ver anonymousId anonymous_id userId user_id".split()
)


def _device_ids(call: Call) -> Iterable[tuple[str, Any]]:
    hashed = _first(call, "device_hash_method")
    for holder in (_first(call, "device_ids"), _first(call, "device_id")):
        if isinstance(holder, dict):
            for kind, value in holder.items():
                yield _kind(kind, value, hashed), value
        else:
            yield "device_id", holder
    if call.action != "identityLink":  # there they are links, which may have any name
        for kind in DEVICE_IDS:
            yield kind, _first(call, kind)
    for key in ("advertisingId", "advertising_id", "advertisingIdentifier"):
        yield _advertising(call), _first(call, key)
    yield "kochava_device_id", _first(call, "kochava_device_id")


def _kind(kind: str, value: Any, hashed: Any) -> str:
    """An id that was sent as its hash is one of another kind."""
    method = str(hashed.get(kind, "")).lower() if isinstance(hashed, dict) else ""
    digits = _HEX_DIGITS.get(method)
    is_hash = digits is not None and isinstance(value, str) and re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value)
    return f"{kind.lower()}_{method}" if is_hash else kind.lower()


def _advertising(call: Call) -> str:
    """Whose advertising id it is, by what else is said of the device."""
    said = f"{_first(call, 'device_type', 'platform', 'type')} {_first(call, 'device_ver', 'device_ua')}".lower()
    if "android" in said:
        return "adid"
    return "idfa" if re.search(r"ios|iphone|ipad|ipod|apple", said) else "advertising_id"


def _tracking(call: Call) -> bool | None:
    """Whether tracking was allowed when the device asked; None: it did not say."""
    asked = _first(call, "app_tracking_transparency")
    return flag(asked.get("att")) if isinstance(asked, dict) else None


def _agreed(call: Call) -> bool:
    """Whether somebody said yes to both uses for ads, whatever law applies to them, and tracking is not refused."""
    consent = _first(call, "gdpr_privacy_consent")
    if not isinstance(consent, dict) or not all(
        flag(consent.get(use)) for use in ("ad_user_data", "ad_personalization")
    ):
        return False
    return _tracking(call) is not False and not flag(_first(call, "device_limit_tracking"))


def _user(call: Call) -> str | None:
    inner = call.data.get("event_data")
    told_of = known(_first(call, "userId", "user_id"))
    return told_of or (known(inner.get("user_id")) if isinstance(inner, dict) else None)


# --- what


def _properties(call: Call, flags: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = _object(call.data.get("event_data", call.fields.get("event_data")))
    if isinstance(given, dict):
        found |= given
    elif given not in (None, ""):
        found["value"] = given
        flags.append("odd_event_data")
    currency = _text(_first(call, "currency"))
    if currency and "currency" not in found:
        found["currency"] = currency
    if call.action == "install":
        version = _text(_first(call, "app_short_string")) or _text(_first(call, "app_version", "app_ver"))
        found |= {"version": version} if version else {}
        found |= {key: call.data[key] for key in _EVIDENCE if call.data.get(key) not in (None, "", {})}
    return found


# What an install says of where it came from, kept as it came: a token can still be exchanged at Apple's.
_EVIDENCE = (
    "ad_services_token",
    "iad_attribution_details",
    "adservices_attribution_details",
    "install_referrer",
    "conversion_data",
)


def _object(value: Any) -> Any:
    """A JSON object that was sent as text, as what it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return clean(msgspec.json.decode(value))
    except (ValueError, RecursionError):
        return value


def _claim(call: Call) -> Claim:
    """The campaign that a call names, or the device's own word on it; the caller's comes first, then Apple's older
    form, as Kochava preferred it while there were both."""
    read = (
        claims.from_context(_first(call, "campaign")),
        claims.from_parameters(call.data),
        claims.from_iad(_object(call.data.get("iad_attribution_details"))),
        claims.from_adservices(_object(call.data.get("adservices_attribution_details"))),
        claims.from_referrer(_object(_first(call, "install_referrer"))),
        claims.from_parameters(_object(call.data.get("conversion_data"))),
    )
    flags = [each for claim in read for each in claim.flags]
    return Claim(next((claim.campaign for claim in read if claim.campaign), {}), flags)


def _context(call: Call, version: str) -> dict[str, Any]:
    """What else was said, with Segment's names where it has any; all that we do not know is kept under our door's."""
    context: dict[str, Any] = {}
    if version:
        context["app"] = {"version": version}
        build = _text(_first(call, "app_version")) if _first(call, "app_short_string") else ""
        context["app"] |= {"build": build} if build else {}
    model, system, number = device(_text(_first(call, "device_ver")))
    limited = flag(_first(call, "device_limit_tracking"))
    allowed = _tracking(call)
    if allowed is None and limited is not None:
        allowed = not limited
    told_of = {"model": model, "adTrackingEnabled": allowed}
    context["device"] = {key: value for key, value in told_of.items() if value not in (None, "")}
    context["os"] = {key: value for key, value in (("name", system), ("version", number)) if value}
    consent = _first(call, "gdpr_privacy_consent")
    if isinstance(consent, dict):
        context["gdpr"] = {key: value if (yes := flag(value)) is None else yes for key, value in consent.items()}
    rest = call.fields if call.action == "identityLink" else call.fields | call.data
    context[DOOR] = {"action": call.action} | {key: value for key, value in rest.items() if key not in _READ}
    return {key: value for key, value in context.items() if value}


_READ = frozenset(
    "kochava_app_id app_id app_guid kochava_device_id device_ids device_id device_hash_method device_ua user_agent"
    " device_ver usertime user_time timestamp app_version app_ver app_short_string event_name eventName event_data"
    " currency gdpr_privacy_consent device_limit_tracking anonymousId anonymous_id userId user_id campaign"
    " advertisingId advertising_id advertisingIdentifier locale language".split()
) | {*DEVICE_IDS, *_EVIDENCE}


def device(text: str) -> tuple[str, str, str]:
    """Model, system and version from `<device>-<os>-<version>`, or a bare version; '' for what is not said."""
    parts = text.rsplit("-", 2)
    if len(parts) == 3 and parts[1]:
        return parts[0], parts[1], parts[2]
    return ("", "", text) if _VERSION.match(text) else (text, "", "")


_VERSION = re.compile(r"[0-9]+(\.[0-9A-Za-z]+)*\Z")


def flag(value: Any) -> bool | None:
    """Yes or no in any of its spellings; None for anything else."""
    return _FLAGS.get(_text(value).lower() if not isinstance(value, bool) else str(value).lower())


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def agent(value: Any) -> str | None:
    """A user agent, raw or percent-encoded, as it was; None where it is not said."""
    text = _text(value)
    if " " not in text and re.search("%[0-9A-Fa-f]{2}", text):
        text = unquote(text) if "%20" in text else unquote_plus(text)
        text = text.replace("\0", "\ufffd")
    return text[:MOST_AGENT_CHARACTERS] if text.lower() not in ("", "unknown", "null") else None


# --- which


def stated_id(call: Call, app_key: str) -> str | None:
    """The id of a call that says by itself which act it is: by its time, or because it says the same whenever it
    comes. It is made of the whole call but its address, in one order. None: two alike may be two acts."""
    timed = _first(call, "usertime", "user_time", "timestamp") not in (None, "")
    if not timed and call.action not in ONCE:
        return None
    canonical = msgspec.json.encode([call.action, call.fields, call.data], order="sorted").decode()
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{app_key}\n{DOOR}\n{canonical}"))
