"""What the snippet says of one act on a listing page, judged into a row of the event log.

Nothing a browser says is authority: partner and plugin ids come from the registry, and the partner's id for a visitor
is taken only when the listing that it arrived on belongs to the same partner. What the snippet would need bytes for is
done here: it sends the partner's cookie as it is, links as they are written, and tabs without a name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote_plus, urljoin

import msgspec

from collector.bots import is_bot
from collector.directory import Directory
from collector.doors.wire import Key, MessageId, Moment, decoded, mended, milliseconds, occurred_at, refuse_nul
from collector.ingest import Arrival, Turned
from collector.network import mark
from collector.scrub import scrub, scrub_target
from store.campaign import Last, encode_last
from store.entry import Visitor
from store.errors import Refused
from store.event import Details, encode_details
from store.ids import is_anonymous_id, is_partner_anonymous_id, message_id
from store.registry import App
from store.secrets import Vault

MAX_EVENTS = 100

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]
Where = Annotated[str, msgspec.Meta(max_length=8_000)]
Text = Annotated[str, msgspec.Meta(max_length=1_000)]


class Consent(msgspec.Struct, frozen=True):
    measurement: bool = True
    sharing: bool = False


class ListingEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One event as the snippet writes it; docs/reference/events.md explains every field."""

    message_id: MessageId
    name: Literal["page_view", "tab_click", "cta_click"]
    app: Key
    occurred_at: Moment
    anonymous_id: Key
    url: Url
    referrer: Where | None = None
    title: Text | None = None
    label: Text | None = None
    target: Where | None = None
    partner: str | None = None
    user: str | None = None
    consent: Consent | None = None
    gpc: bool = False
    version: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class ListingBody(msgspec.Struct, frozen=True, rename="camel"):
    """What one request carries."""

    events: list[ListingEvent]
    sent_at: Moment | None = None


class RawBody(msgspec.Struct, frozen=True, rename="camel"):
    """The same with events left as they came, so that one bad event does not sink the others."""

    events: list[msgspec.Raw]
    sent_at: Moment | None = None


class Facts(msgspec.Struct, frozen=True):
    """What the request itself says, whatever its body claims. The address is stored nowhere; None: nobody looked."""

    received_at: int
    user_agent: str | None = None
    locale: str | None = None
    gpc: bool = False
    address: str | None = ""


class Unseen(ValueError):
    """The address is needed, and nobody has looked."""


_decode_body = msgspec.json.Decoder(ListingBody).decode
_decode_raw_body = msgspec.json.Decoder(RawBody).decode
_decode_event = msgspec.json.Decoder(ListingEvent).decode


class Judge:
    """Turns bodies into arrivals and refusals."""

    def __init__(self, directory: Directory, vault: Vault, consent: str) -> None:
        self._directory = directory
        self._vault = vault
        self._consent_required = consent == "required"

    def judge_clean(self, body: bytes, facts: Facts) -> list[Arrival] | None:
        """Judge a body in which every event is good; None when anything is amiss, for `judge` to say what, or when an
        event needs the address and `facts` has none."""
        try:
            content = _decode_body(body)
            if not 1 <= len(content.events) <= MAX_EVENTS or b"\\u0000" in body:
                return None
            sent_at = milliseconds(content.sent_at) if content.sent_at is not None else None
            return [self._arrival(event, sent_at, facts) for event in content.events]
        except (ValueError, RecursionError, Refused):
            return None

    async def judge(self, body: bytes, facts: Facts) -> Sequence[Arrival | Turned]:
        """Judge every event of a body. Raises Refused when the body as a whole cannot be read."""
        clean = self.judge_clean(body, facts)
        return clean if clean is not None else await self._judge_one_by_one(body, facts)

    async def _judge_one_by_one(self, body: bytes, facts: Facts) -> list[Arrival | Turned]:
        """The slow way, for a body in which something is wrong: each event gets its own answer."""
        content = decoded(_decode_raw_body, mended(body))
        if not 1 <= len(content.events) <= MAX_EVENTS:
            raise Refused("invalid", f"a body has 1 to {MAX_EVENTS} events - at `$.events`")
        sent_at = milliseconds(content.sent_at) if content.sent_at is not None else None
        asked = time.monotonic()
        return [await self._judge_one(raw, sent_at, facts, asked) for raw in content.events]

    async def _judge_one(self, raw: msgspec.Raw, sent_at: int | None, facts: Facts, asked: float) -> Arrival | Turned:
        app_key = ""
        try:
            event = decoded(_decode_event, raw)
            app = await self._directory.find_app(event.app, asked)
            app_key = app.app_key if app else ""
            refuse_nul(event)
            return self._arrival(event, sent_at, facts)
        except Refused as refused:
            return Turned(refused, app_key, redacted(bytes(raw), refused.reason))

    def _arrival(self, event: ListingEvent, sent_at: int | None, facts: Facts) -> Arrival:
        """One event as a row. Raises Refused."""
        app = self._directory.app(event.app)
        if app is None:
            raise Refused("unknown_app", "no app has this key - at `$.app`")
        _check(event)
        url = scrub(event.url)
        partner_anonymous_id = url.partner_anonymous_id or self._own_partner_id(event, app)
        user_id = self._vault.visitor(event.user, app.app_key) if event.user else None
        sharing = event.consent.sharing if event.consent is not None else None
        suppressed = self._suppressed(event.gpc, sharing, facts)
        identity, identity_text = message_id(event.message_id, app.app_key)
        details = Details(
            url=url.url,
            query=url.query,
            referrer=scrub(event.referrer).url if event.referrer else None,
            title=event.title or None,
            label=event.label or None,
            target=_target(event),
            user_agent=facts.user_agent,
            locale=facts.locale,
            sharing=sharing,
            version=event.version,
            message_id=identity_text,
            network=self._network(app, sharing, suppressed, facts),
        )
        row = (
            app.app_key,
            identity,
            "track",
            event.name,
            "browser",
            occurred_at(event.occurred_at, sent_at, facts.received_at),
            facts.received_at,
            app.partner_key,
            event.anonymous_id,
            user_id,
            partner_anonymous_id,
            suppressed,
            encode_details(details).decode(),
        )
        if event.name != "page_view":
            return Arrival(row)
        word = "gpc" if suppressed == "gpc" else None if sharing is None else "" if sharing else "consent"
        campaign = "" if word else None  # a no takes it away
        if url.campaign and suppressed is None:
            campaign = encode_last(Last(row[5], app.partner_key, url.campaign)).decode()
        told = (user_id, partner_anonymous_id, word)
        if campaign is None and told == _NOTHING:
            return Arrival(row)
        return Arrival(row, Visitor(app.app_key, event.anonymous_id, *told, facts.received_at, campaign))

    def _own_partner_id(self, event: ListingEvent, app: App) -> str | None:
        """What the partner's cookie says: `<seconds>.<app on whose listing it came>:<id, percent-encoded>`."""
        if not event.partner:
            return None
        arrived_on, _, encoded = event.partner.partition(".")[2].partition(":")
        listing = self._directory.app(arrived_on)
        if listing is None or listing.partner_key != app.partner_key:
            return None
        partner_anonymous_id = unquote_plus(encoded)
        return partner_anonymous_id if is_partner_anonymous_id(partner_anonymous_id) else None

    def _network(self, app: App, sharing: bool | None, suppressed: str | None, facts: Facts) -> str | None:
        """What is kept of the address, of who agreed to sharing, where the app's rules match by it. Raises Unseen."""
        if sharing is not True or suppressed is not None or not self._directory.by_network(app.app_key):
            return None
        if facts.address is None:
            raise Unseen
        return mark(self._vault, app.app_key, facts.address, facts.user_agent)

    def _suppressed(self, gpc: bool, sharing: bool | None, facts: Facts) -> str | None:
        """Why no partner may get the event; the visitor's own word comes before ours on bots."""
        if gpc or facts.gpc:
            return "gpc"
        if sharing is False or (sharing is None and self._consent_required):
            return "consent"
        return "bot" if facts.user_agent is not None and is_bot(facts.user_agent) else None


def _check(event: ListingEvent) -> None:
    """What the types cannot say. Raises Refused."""
    if event.consent is not None and not event.consent.measurement:
        raise Refused("consent_refused", "the visitor did not agree to measurement")
    if not is_anonymous_id(event.anonymous_id):
        raise Refused("invalid", "not 40 hex digits - at `$.anonymousId`")


def _target(event: ListingEvent) -> str | None:
    """Where a click leads: for a tab `tab/` and its name, else the link as the page wrote it, or an element's id."""
    target = event.target or ""
    if event.name == "tab_click" and not target.startswith("tab/"):
        name = target if target and not _LINK.search(target) else "-".join(_WORD.findall((event.label or "").lower()))
        return f"tab/{name}" if name else None
    if event.name == "cta_click" and "://" not in target and _LINK.search(target):
        try:
            target = urljoin(event.url, target)
        except ValueError:  # it is no address
            return None
        if "://" not in target:
            return scrub(target).url or None
    return scrub_target(target) or None


_NOTHING = (None, None, None)
_LINK = re.compile(r"[/?#:]")  # which no name and no id has
_WORD = re.compile(r"[^\W_]+")


def redacted(body: bytes, reason: str) -> bytes:
    """What of a refused message may be kept: nothing of a visitor who refused measurement, never the signed user token,
    a partner's id or what calls itself an address, and URLs only as they would be stored."""
    if reason == "consent_refused":
        return b""
    if not _DELICATE.search(body):
        return body
    try:
        message = msgspec.json.decode(body)
        return b"" if _refuses_measurement(message) else msgspec.json.encode(_cleaned(message))
    except (ValueError, RecursionError):
        return b""  # nobody can say what is what in it


# Also what may hide these words: escapes, and the control characters of other encodings and of compression.
_DELICATE = re.compile(rb"user|partner|measurement|://|(?i:ip\"|addr|forwarded)|\\|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TAKEN_OUT = re.compile(r"user|partner|partnerAnonymousId|(?i:.*ip|.*addr.*|.*forwarded.*)", re.DOTALL)


def _refuses_measurement(part: Any) -> bool:
    if isinstance(part, dict):
        return part.get("measurement") is False or any(map(_refuses_measurement, part.values()))
    return isinstance(part, list) and any(map(_refuses_measurement, part))


def _cleaned(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: "[taken out]" if _TAKEN_OUT.fullmatch(name) else _cleaned(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    return scrub(part).url if isinstance(part, str) and "://" in part else part
