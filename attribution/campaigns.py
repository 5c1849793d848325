"""A campaign out of the parts that somebody gave: Segment's names, UTM parameters and click ids, Apple's claims, and
Google's install referrer.

What names no campaign is None: parts that are all "unknown", Apple's `attribution: false` and the made-up values that
it gives to apps in development, and Google's word for somebody who found the app in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from attribution.evidence import Campaign, Kind, Origin

UNKNOWN = frozenset({"unknown", "(not set)", "(none)", "null", "undefined"})
DEVELOPER_ID = "1234567890"  # https://developer.apple.com/documentation/adservices/aaattribution/attributiontoken()
DEVELOPER_NAME = "CampaignName"  # https://developer.apple.com/forums/thread/64464
MOST_CHARACTERS = 300
MOST_ENCODED = 3  # times that a referrer may be percent-encoded
# Which network gives which click id.
CLICK_IDS = {
    "gclid": "google",
    "gbraid": "google",
    "wbraid": "google",
    "dclid": "google",
    "fbclid": "facebook",
    "msclkid": "bing",
    "ttclid": "tiktok",
    "twclid": "twitter",
    "li_fat_id": "linkedin",
    "rdt_cid": "reddit",
    "sccid": "snapchat",
    "epik": "pinterest",
    "yclid": "yandex",
    "irclickid": "impact",
    "ko_click_id": "kochava",
    "click_id": "",
}
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
    for name, network in CLICK_IDS.items():
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


# --- Apple's own words


def from_iad(details: Any) -> Claim | None:
    """The dictionary of Apple's iAd, as the device has it, with or without its version around it. Its parts are named
    as in segmentio/analytics-ios-iads-attribution."""
    told = _within(details, "Version3.1")
    if not any(str(name).startswith("iad-") for name in told) or _says_no(told.get("iad-attribution", True)):
        return None
    parts = {name: told.get(key) for key, name in _IAD.items()}
    return from_parts({"provider": "Apple", "source": "iAd"} | parts)


_IAD = {
    "iad-campaign-name": "name",
    "iad-campaign-id": "id",
    "iad-keyword": "content",
    "iad-org-name": "ad_creative",
    "iad-org-id": "org_id",
    "iad-adgroup-name": "ad_group",
    "iad-adgroup-id": "ad_group_id",
    "iad-click-date": "click_date",
}


def from_adservices(payload: Any) -> Claim | None:
    """The answer of Apple's AdServices to whoever asked with the device's token."""
    if not isinstance(payload, Mapping) or _says_no(payload.get("attribution", False)):
        return None
    parts = {name: payload[key] for key, name in _ADSERVICES if key in payload}
    return from_parts({"provider": "Apple", "source": "Apple Search Ads"} | parts)


_ADSERVICES = (  # of two for one part, the later is the better
    ("campaignId", "id"),
    ("adGroupId", "ad_group_id"),
    ("keywordId", "content"),
    ("creativeSetId", "ad_creative"),
    ("adId", "ad_creative"),
    ("orgId", "org_id"),
    ("claimType", "claim_type"),
    ("impressionDate", "impression_date"),
    ("clickDate", "click_date"),
)


def _within(details: Any, name: str) -> Mapping[str, Any]:
    inner = details.get(name, details) if isinstance(details, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _says_no(value: Any) -> bool:
    return str(value).lower() not in ("true", "1")


# --- Google's referrer


def from_referrer(told: Any) -> Claim | None:
    """What Google's store gives to an app: the referrer's text, encoded as often as it may be, or an object around it
    with the time of the click in epoch seconds."""
    around = told if isinstance(told, Mapping) else {"referrer": told}
    text = next((around[key] for key in ("referrer", "install_referrer", "installReferrer") if around.get(key)), None)
    if not isinstance(text, str):
        return None
    for _ in range(MOST_ENCODED):
        if "=" in text:
            break
        text = unquote(text)
    found = from_parts({name: _decoded(value) for name, value in parse_qsl(text[:4_000])})
    if found is None:
        return None
    at = next((moment(around[key]) for key in _CLICKED if around.get(key)), None)
    return found._replace(origin="play", at=at)


_CLICKED = (
    "referrer_click_timestamp_server_seconds",
    "referrer_click_timestamp_seconds",
    "referrer_click_time",
    "click_date",
)


def _decoded(text: str) -> str:
    """A value that was encoded once more than its name."""
    return unquote(text) if "%" in text else text


# --- values


def moment(value: Any) -> int | None:
    """Epoch milliseconds of ISO 8601, or of epoch seconds or milliseconds; None for anything else."""
    text = _text(value)
    if text.isascii() and text.isdigit():
        number = int(text)
        return number if number > 10**11 else number * 1_000 or None
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
