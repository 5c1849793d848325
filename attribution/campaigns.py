"""A campaign out of the parts that somebody gave: Segment's names, UTM parameters, click ids, and what is made of a
device's word (attribution/claims.py).

What names no campaign is None: parts that are all "unknown", Apple's `attribution: false` and the made-up values that
it gives to apps in development, and Google's word for somebody who found the app in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from attribution.claims import DEVELOPER_ID, DEVELOPER_NAME
from attribution.evidence import Campaign, Kind, Origin
from store.campaign import NETWORKS

UNKNOWN = frozenset({"unknown", "(not set)", "(none)", "null", "undefined"})
MOST_CHARACTERS = 300
LAST_MS = 253_402_300_799_999  # the end of the year 9999, after which no calendar here goes
_PARTS = {
    "source": "source",
    "utm_source": "source",
    "network": "source",
    "name": "name",
    "utm_campaign": "name",
    "campaign": "name",
    "medium": "medium",
    "utm_medium": "medium",
    "content": "content",
    "utm_content": "content",
    "keyword": "content",
    "term": "term",
    "utm_term": "term",
    "id": "id",
    "utm_id": "id",
    "campaign_id": "id",
    "ad_creative": "ad_creative",
    "adcreative": "ad_creative",
    "creative": "ad_creative",
    "ad_group": "ad_group",
    "adgroup": "ad_group",
    "ad_group_id": "ad_group_id",
    "provider": "provider",
}


class Claim(NamedTuple):
    """A campaign that somebody met, how, who says so, and when, epoch milliseconds; None: that is not said."""

    campaign: Campaign
    kind: Kind = "click"
    origin: Origin = "partner"
    at: int | None = None


def from_parts(parts: Mapping[str, Any]) -> Claim | None:
    """From `Details.campaign`, a query, or what else has names and values."""
    told = {name.lower(): text for name, value in parts.items() if (text := _text(value))}
    if _is_refused(told):
        return None
    found: dict[str, str] = {}
    for name, text in told.items():
        if name in _PARTS:
            found.setdefault(_PARTS[name], text)
    for name, network in NETWORKS.items():
        if name in told:
            found.setdefault("click_id", told[name])
            found.setdefault("source", network)
    if not any(found.get(part) for part in ("source", "name", "id", "click_id")):
        return None
    if found.keys() <= {"provider", "source"} and "provider" in found:
        return None  # who would have said something, and nothing
    return Claim(Campaign(**found), _kind(told), _origin(told), _date(told))


def _is_refused(told: Mapping[str, str]) -> bool:
    if told.get("attribution", "").lower() in ("false", "0"):
        return True
    ids = (told.get("id"), told.get("ad_group_id"), told.get("org_id"))
    if DEVELOPER_ID in ids or told.get("name") == DEVELOPER_NAME:
        return _is_apple(told)
    source = told.get("utm_source", told.get("source", "")).lower()
    return source == "google-play" and told.get("utm_medium", told.get("medium", "")).lower() == "organic"


def _is_apple(told: Mapping[str, str]) -> bool:
    return told.get("provider", "").lower() == "apple" or told.get("source", "").lower() == "iad"


def _origin(told: Mapping[str, str]) -> Origin:
    if _is_apple(told):
        return "apple"
    return "play" if told.get("provider", "").lower() in ("google play", "play") else "partner"


def _kind(told: Mapping[str, str]) -> Kind:
    return "view" if told.get("claim_type", "").lower() in ("impression", "view") else "click"


def _date(told: Mapping[str, str]) -> int | None:
    for name in ("click_date", "clickdate", "impression_date", "impressiondate"):
        at = moment(told[name]) if name in told else None
        if at is not None:
            return at
    return None


# --- values


def moment(value: Any) -> int | None:
    """Epoch milliseconds of ISO 8601, or of epoch seconds or milliseconds; None for anything else."""
    text = _text(value)
    if text.isascii() and text.isdigit():
        number = int(text)
        number = number if number > 10**11 else number * 1_000
        return number if 0 < number <= LAST_MS else None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)


def _text(value: Any) -> str:
    """A plain value as text; '' for what is none, is unknown, or is too long to be a part."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        return ""
    text = str(value).strip()
    return "" if text.lower() in UNKNOWN or len(text) > MOST_CHARACTERS else text
