"""What led somebody to a listing: the campaign that the parameters of a page's address name.

Its parts have the names of Segment's spec: `utm_campaign` is `name`, the other UTM parameters drop their prefix, and
the ids that advertisers give to clicks keep their own names. A visitor's last campaign is kept as JSON, beside the
visitor, until an install asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

# Ids that are given to a click, and by which network; '' is whoever it may be.
NETWORKS = {
    "click_id": "",
    "dclid": "google",
    "epik": "pinterest",
    "fbclid": "facebook",
    "gbraid": "google",
    "gclid": "google",
    "igshid": "instagram",
    "irclickid": "impact",
    "ko_click_id": "kochava",
    "li_fat_id": "linkedin",
    "mc_cid": "mailchimp",
    "msclkid": "bing",
    "rdt_cid": "reddit",
    "sccid": "snapchat",
    "ttclid": "tiktok",
    "twclid": "twitter",
    "wbraid": "google",
    "yclid": "yandex",
}
CLICK_IDS = frozenset(NETWORKS)
JOURNEY_MS = 30 * 86_400_000
MOST_PARTS = 15
MOST_CHARACTERS = 300  # of one part with its name; an install has to fit into one of Segment's messages


class Last(msgspec.Struct, frozen=True):
    """A visitor's last campaign: when it came, epoch milliseconds, on a listing of which partner, and its parts."""

    at: int
    partner: str
    parts: dict[str, str]

    def of(self, partner_key: str, moment: int) -> dict[str, str] | None:
        """Its parts for an act of that moment in an app of that partner: none for another partner's app, for what was
        before it, or when the journey had ended."""
        fits = partner_key == self.partner and 0 <= moment - self.at <= JOURNEY_MS
        return self.parts if fits else None


def campaign(query: Mapping[str, str]) -> dict[str, str]:
    """The parts that a page's parameters name; {} without any. What is too long to be one is left out."""
    parts: dict[str, str] = {}
    for parameter, value in query.items():
        part = _part(parameter)
        if part and value and len(part) + len(value) <= MOST_CHARACTERS and len(parts) < MOST_PARTS:
            parts[part] = value
    return parts


def _part(parameter: str) -> str:
    """'' when a parameter names none."""
    if not parameter.startswith("utm_"):
        return parameter.lower() if parameter.lower() in CLICK_IDS else ""
    part = parameter[4:]
    return "" if part in CLICK_IDS or part == "name" else _PARTS.get(part, part)


def parameters(parts: Mapping[str, str]) -> dict[str, str]:
    """The parameters that name these parts."""
    return {part if part in CLICK_IDS else "utm_" + _NAMES.get(part, part): value for part, value in parts.items()}


_PARTS = {"campaign": "name"}
_NAMES = {part: parameter for parameter, part in _PARTS.items()}

encode_last = msgspec.json.Encoder().encode
_decode_last = msgspec.json.Decoder(Last).decode


def last_campaign(text: str | None) -> Last | None:
    """As it was kept beside a visitor."""
    return _decode_last(text) if text else None
