"""The back end's doors: installs, app requests and uninstalls, told by the marketplace's servers with a bearer token.

The account id ends here: it is hashed before anything is stored, and what is kept of a refused message never holds it.
What the back end does not know of a visitor (the anonymous id, the partner's id, the campaign, the word on sharing) is
taken from what the listing said.
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from functools import reduce
from typing import Annotated, Any

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors.bearer import authenticated
from collector.doors.body import ClientGone, Headers, read_body, respond, retry_after, text_of
from collector.doors.wire import (
    Instant,
    Key,
    MessageId,
    decoded,
    mended,
    milliseconds,
    occurred_at,
    receipt_json,
    refusal_json,
    refuse_nul,
)
from collector.ingest import Arrival, Intake, Turned
from store import log
from store.campaign import last_campaign
from store.database import Database
from store.entry import Visitor
from store.errors import Refused, Unavailable
from store.event import Details, encode_details
from store.ids import is_anonymous_id, is_partner_anonymous_id, is_uuid, message_id, uuid7
from store.registry import App
from store.secrets import Vault

MAX_BODY = 1024 * 1024
MAX_MESSAGES = 1_000
TELLING = 8  # an account id shorter than this is found in other ids by chance


class BackendMessage(msgspec.Struct, frozen=True, rename="camel"):
    """One install, app request or uninstall; docs/reference/http.md explains every field."""

    app: Key
    account_id: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    user_id: str | None = None
    anonymous_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    partner_anonymous_id: str | None = None
    occurred_at: Instant | None = None
    message_id: MessageId | None = None
    sharing: bool | None = None


Met = dict[tuple[str, str], list[Visitor]]  # by app and user: visitors who became known in this request

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_message = msgspec.json.Decoder(BackendMessage).decode
_KEPT_FIELDS = ("app", "anonymousId", "occurredAt", "messageId", "partnerAnonymousId", "sharing")
_STATUS = {"too_large": 413, "too_many": 413, "unknown_token": 401, "unsuitable_token": 403}


class BackendDoor:
    """The ASGI application behind one of the back end's routes. `name` is the event's, `scope` the token's."""

    def __init__(
        self, name: str, scope: str, intake: Intake, directory: Directory, vault: Vault, reader: Database, consent: str
    ) -> None:
        self._name = name
        self._scope = scope
        self._intake = intake
        self._directory = directory
        self._vault = vault
        self._reader = reader
        self._consent_required = consent == "required"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_at, asked = time.time_ns() // 1_000_000, time.monotonic()
        request = dict(scope["headers"])
        try:
            self._intake.writer.check_open()
            await authenticated(self._directory, request.get(b"authorization", b""), self._scope, asked)
            body = await read_body(request, receive, MAX_BODY)
            met: Met = {}
            judged = [await self._judge(raw, received_at, asked, met) for raw in _messages(body)]
            receipt = await self._intake.ingest(self._scope, received_at, judged, len(body))
        except ClientGone:
            return
        except Refused as refused:
            await self._intake.keep_refused(self._scope, received_at, Turned(refused, "", b""))
            status = _STATUS.get(refused.reason, 400)
            headers: Headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await respond(send, status, headers, refusal_json(refused))
        except Unavailable as error:
            self._intake.writer.shed(self._scope, received_at)
            await respond(send, 503, [retry_after(error)], b'{"reason":"unavailable"}')
        else:
            await respond(send, 200, [], receipt_json(receipt))

    async def _judge(self, raw: msgspec.Raw, received_at: int, asked: float, met: Met) -> Arrival | Turned:
        app: App | None = None
        try:
            message = decoded(_decode_message, raw)
            app = await self._directory.find_app(message.app, asked)
            if app is None:
                raise Refused("unknown_app", "no app has this key - at `$.app`")
            refuse_nul(message)
            _keep_account_apart(message)
            return await self._arrival(message, app, received_at, met)
        except Refused as refused:
            return Turned(refused, app.app_key if app else "", redacted(raw))

    async def _arrival(self, message: BackendMessage, app: App, received_at: int, met: Met) -> Arrival:
        user_id = self._user_id(message)
        own = await self._visitor(app.app_key, message.anonymous_id)
        seen = await self._seen(app.app_key, own, user_id, met)
        anonymous_id = message.anonymous_id or (seen.anonymous_id if seen else self._vault.anonymous_id_for(user_id))
        partner_anonymous_id = _partner_id(message) or (seen.partner_anonymous_id if seen else None)
        occurred = occurred_at(message.occurred_at, None, received_at) if message.occurred_at else received_at
        campaign = _campaign(seen, app, occurred)
        stated_id = _own_message_id(message, user_id) or self._made_id(app.app_key, user_id, message.occurred_at)
        identity, identity_text = message_id(stated_id, app.app_key)
        row = (
            app.app_key,
            identity,
            "track",
            self._name,
            "server",
            occurred,
            received_at,
            app.partner_key,
            anonymous_id,
            user_id,
            partner_anonymous_id,
            self._suppressed(message.sharing, seen),
            encode_details(Details(sharing=message.sharing, message_id=identity_text, campaign=campaign)).decode(),
        )
        return Arrival(row, _met(own, user_id, met))

    def _user_id(self, message: BackendMessage) -> str:
        if message.account_id is not None:
            return self._vault.user_id(message.account_id)
        if message.user_id is None:
            raise Refused("no_user", "accountId or userId is needed - at `$`")
        if not is_anonymous_id(message.user_id):  # both ids have the same shape
            raise Refused("invalid", "userId is 40 hex digits; send a plain account id as accountId - at `$.userId`")
        return message.user_id

    async def _visitor(self, app_key: str, anonymous_id: str | None) -> Visitor | None:
        """What the app's listing said of the visitor whom a message names, up to this moment."""
        await self._intake.writer.settle()  # the view that says it may have come just before
        return await log.visitor(self._reader, app_key, anonymous_id) if anonymous_id is not None else None

    async def _seen(self, app_key: str, seen: Visitor | None, user_id: str, met: Met) -> Visitor | None:
        """The same, and what is not known of the visitor, of the user."""
        if seen is not None and None not in (seen.partner_anonymous_id, seen.suppressed, seen.campaign):
            return seen
        others = [*met.get((app_key, user_id), ()), *await log.visitors_of_user(self._reader, app_key, user_id)]
        others.sort(key=lambda visitor: visitor.seen_at, reverse=True)
        known = others if seen is None else [seen, *others]
        return reduce(_completed, known) if known else None

    def _made_id(self, app_key: str, user_id: str, stated: datetime | None) -> str:
        """The same act told twice with its time is one event; without a time nobody can tell."""
        if stated is None:
            return str(uuid7())
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{app_key}\n{self._name}\n{user_id}\n{milliseconds(stated)}"))

    def _suppressed(self, sharing: bool | None, seen: Visitor | None) -> str | None:
        """The visitor's word, told with the act or on the listing; Global Privacy Control is not overruled."""
        if seen is not None and seen.suppressed == "gpc":
            return "gpc"
        if sharing is not None:
            return None if sharing else "consent"
        if seen is not None and seen.suppressed is not None:
            return seen.suppressed or None
        return "consent" if self._consent_required else None


def _met(own: Visitor | None, user_id: str, met: Met) -> Visitor | None:
    """That a visitor whose user nobody knew is this user, so that what is told of the user alone later finds them."""
    if own is None or own.user_id is not None:
        return None
    met.setdefault((own.app_key, user_id), []).append(own)
    return own._replace(user_id=user_id, partner_anonymous_id=None, suppressed=None, campaign=None)


def _completed(seen: Visitor, other: Visitor) -> Visitor:
    """A visitor, and what is known of the same user elsewhere; nothing of where they refused and here agreed."""
    if seen.suppressed is not None and other.suppressed:
        return seen
    unknown = [field for field, own in zip(Visitor._fields, seen, strict=True) if own is None]
    return seen._replace(**{field: getattr(other, field) for field in unknown})


def _campaign(seen: Visitor | None, app: App, occurred: int) -> dict[str, str] | None:
    """That of the journey; who refused sharing has none, even if somebody else agreed for them."""
    last = last_campaign(seen.campaign) if seen is not None and not seen.suppressed else None
    return last.of(app.partner_key, occurred) if last is not None else None


def _messages(body: bytes) -> list[msgspec.Raw]:
    """A body is one object or a list of them. Raises Refused."""
    text_of(body)
    body = mended(body)
    if not body.lstrip().startswith(b"["):
        return [decoded(msgspec.json.Decoder(msgspec.Raw).decode, body)]
    messages = decoded(_decode_list, body)
    if len(messages) > MAX_MESSAGES:
        raise Refused("too_many", f"a list has at most {MAX_MESSAGES} messages")
    return messages


def _partner_id(message: BackendMessage) -> str | None:
    given = message.partner_anonymous_id
    if given and not is_partner_anonymous_id(given):
        raise Refused("invalid", "1 to 200 printable ASCII characters - at `$.partnerAnonymousId`")
    return given or None


def _keep_account_apart(message: BackendMessage) -> None:
    """Raises Refused when the account id stands where it would be kept, and sent to a partner."""
    account = message.account_id
    for name, value in (("anonymousId", message.anonymous_id), ("partnerAnonymousId", message.partner_anonymous_id)):
        if account and value and (value == account or (len(account) >= TELLING and account in value)):
            raise Refused("invalid", f"{name} must not hold the account id - at `$.{name}`")


def _own_message_id(message: BackendMessage, user_id: str) -> str | None:
    """The sender's message id; senders like to make it of the account id, which is exchanged for the user id."""
    text = message.message_id
    if not text or not message.account_id or is_uuid(text):
        return text
    return text.replace(message.account_id, user_id)


def redacted(raw: msgspec.Raw) -> bytes:
    """What of a refused message may be kept: plain values of the fields that hold no account id."""
    try:
        message: Any = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(message, dict):
        return b""
    account = message.get("accountId") or message.get("userId")
    kept = {field: message.get(field) for field in _KEPT_FIELDS}
    return msgspec.json.encode({field: value for field, value in kept.items() if _is_apart(value, account)})


def _is_apart(value: Any, account: Any) -> bool:
    """Whether a value is there, plain, and does not hold the account id, however the sender wrote that."""
    if value is None or isinstance(value, (dict, list)):
        return False
    return not isinstance(account, (str, int, float)) or str(account) not in str(value)
