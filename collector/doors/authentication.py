"""Strict authentication: whether a request proves that an app's own sender made it. The one place that decides it.

Two schemes. Kochava's, for senders that have it already: a token over the secret and the body, under the API key. It
has no time in it, so the same body can be sent again by whoever saw it; therefore what is stored gets ids made of the
body, and comes again as a duplicate for as long as the log knows it. Ours, beside it: a signature over a time, a nonce,
the path and the body, good for five minutes.

Keys, tokens and signatures are compared by `hmac.compare_digest` alone, and every live key is compared.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from collector.directory import Directory
from collector.doors.body import text_of
from collector.doors.calls import clean
from collector.doors.wire import DAY_MS, decoded, mended
from collector.ingest import Parked
from store import quarantine
from store.authentication import OFF, QUARANTINE
from store.database import Database
from store.entry import Held
from store.errors import ConfigError, Refused
from store.quarantine import Amount
from store.registry import App
from store.secrets import Vault

API_KEY, TOKEN = b"kochava-api-key", b"kochava-auth-token"
KEY, TIMESTAMP, NONCE, SIGNATURE = b"footfall-key", b"footfall-timestamp", b"footfall-nonce", b"footfall-signature"
TOLERANCE_SECONDS = 300
MOST_REQUESTS = 10_000  # that one app has in the quarantine …
MOST_BYTES = 64 * 1024 * 1024  # … and how much
SECRETS = frozenset({"writekey", "write_key", "authorization"})  # fields of bodies, in small letters
STATUS = {"no_proof": 401, "unknown_api_key": 401, "wrong_proof": 401, "stale_proof": 401, "quarantine_full": 429}

_TIME = re.compile(rb"[0-9]{1,12}\Z")
_NONCE = re.compile(rb"[\x21-\x7e]{0,100}\Z")
_SLASH = re.compile(rb"(?<!\\)/")


class Request(NamedTuple):
    """What came: at which door and path, its headers in small letters, its body as it came, when in epoch ms."""

    door: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    received_at: int


class Pair(NamedTuple):
    """A live key pair, opened."""

    api_key: bytes
    secret: bytes


class Unproven(Refused):
    """What an app's rule turned away; `app_key` is the app's."""

    def __init__(self, app: App, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.app_key = app.app_key


def check_age(at: int, oldest: int) -> None:
    """Raises Refused for what is older than the log remembers."""
    if at < oldest:
        raise Refused("too_old", "it is so old that the log no longer knows whether it came before")


def is_open(app: App) -> bool:
    """Whether the app wants no proof of any sender, so that nobody need be asked."""
    return app.authentication == OFF


class Gate:
    """The judgement as the doors call it, with what it has to look up."""

    def __init__(self, directory: Directory, vault: Vault, reader: Database, retention_days: int) -> None:
        self._directory = directory
        self._vault = vault
        self._reader = reader
        self._kept_ms = retention_days * DAY_MS

    async def admit(self, app: App, request: Request, content: bytes) -> str | Parked:
        """Whether a request may speak for an app.

        Answers what its messages without ids of their own get theirs of: '' where the app asks for no proof, so that
        each is an act of its own; else the act that was proved. Or, where the app parks what lacks proof, what to hand
        to `ingest` instead of its messages: `content`, which is the body unpacked, or what of it is this app's. Raises
        Unproven.
        """
        if is_open(app):
            return ""
        try:
            return await self._judge(app, request, content)
        except Refused as refused:
            raise Unproven(app, refused.reason, refused.detail) from None

    def oldest(self, act: str, received_at: int) -> int:
        """Before when nothing of a proved act may have happened, epoch ms: the log would not know it again."""
        return received_at - self._kept_ms if act else 0

    async def _judge(self, app: App, request: Request, content: bytes) -> str | Parked:
        try:
            return proved(self._pairs(app), request)
        except Refused as refused:
            if app.authentication != QUARANTINE:
                raise
            return await self._park(app, request, refused.reason, content)

    def _pairs(self, app: App) -> list[Pair]:
        """An app's live pairs; one whose secret was lost with the secret key proves nothing any more."""
        found = []
        for pair in self._directory.pairs_of(app.app_key):
            with suppress(ConfigError):
                found.append(Pair(pair.api_key.encode(), self._vault.decrypt(pair.secret).encode()))
        return found

    async def _park(self, app: App, request: Request, reason: str, content: bytes) -> Parked:
        body = msgspec.json.encode(without_secrets(unpacked(content)))
        there = await quarantine.amount(self._reader, app.app_key)
        if not fits(there, len(body)):
            raise Refused("quarantine_full", "too much waits in the app's quarantine: release or drop it first")
        quarantine_id = act_of(request.path.encode(), body)
        return Parked(
            Held(
                app.app_key,
                quarantine_id,
                request.door,
                request.path,
                request.received_at,
                reason,
                len(body),
                body,
            )
        )


def fits(there: Amount, size: int) -> bool:
    return there.requests < MOST_REQUESTS and there.bytes + size <= MOST_BYTES


def proved(pairs: Sequence[Pair], request: Request) -> str:
    """The act that a request proves to be its sender's own. Raises Refused with the reason why it does not."""
    if SIGNATURE in request.headers:
        return _signed(pairs, request)
    if TOKEN in request.headers or API_KEY in request.headers:
        return _tokened(pairs, request)
    raise Refused("no_proof", "this app's callers prove who they are: see docs/how-to/demand-authentication.md")


# --- Kochava's scheme


def token(pair: Pair, body: bytes) -> str:
    """The token of a body: 64 hex digits."""
    digest = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()  # the scheme's, not our choice
    return hmac.new(pair.api_key, pair.secret + digest, hashlib.sha256).hexdigest()


def escaped(body: bytes) -> bytes:
    """A body as PHP writes it, with a backslash before every slash: what some senders make their token of."""
    return _SLASH.sub(rb"\\/", body)


def _tokened(pairs: Sequence[Pair], request: Request) -> str:
    pair = _named(pairs, request.headers.get(API_KEY, b""))
    given = request.headers.get(TOKEN, b"").strip().lower()
    php = escaped(request.body)
    for form in (request.body, php):
        if hmac.compare_digest(token(pair, form).encode(), given):
            return act_of(b"", php)  # one token may hold for many bodies, which differ in their backslashes alone
    raise Refused("wrong_proof", "the token is not that of this body under the key's secret")


# --- ours


def signature(pair: Pair, timestamp: bytes, nonce: bytes, path: str, body: bytes) -> str:
    """The signature of a request, as its header has it."""
    signed = b"\n".join((b"v1", timestamp, nonce, path.encode(), body))
    return f"v1={hmac.new(pair.secret, signed, hashlib.sha256).hexdigest()}"


def _signed(pairs: Sequence[Pair], request: Request) -> str:
    headers = request.headers
    pair = _named(pairs, headers.get(KEY, b""))
    timestamp, nonce = headers.get(TIMESTAMP, b""), headers.get(NONCE, b"")
    if not _TIME.match(timestamp) or not _NONCE.match(nonce):
        raise Refused("wrong_proof", "Footfall-Timestamp is epoch seconds, Footfall-Nonce at most 100 characters")
    made = signature(pair, timestamp, nonce, request.path, request.body)
    if not hmac.compare_digest(made.encode(), headers[SIGNATURE].strip()):
        raise Refused("wrong_proof", "the signature is not that of this request under the key's secret")
    if abs(int(timestamp) - request.received_at / 1_000) > TOLERANCE_SECONDS:
        raise Refused("stale_proof", f"the signature's time is over {TOLERANCE_SECONDS} seconds from ours")
    return act_of(b"n:" + nonce if nonce else b"t:" + timestamp, request.body)


def _named(pairs: Sequence[Pair], api_key: bytes) -> Pair:
    """The pair of a key. Raises Refused when none has it."""
    if not api_key:
        raise Refused("no_proof", "the API key is missing")
    found = [pair for pair in pairs if hmac.compare_digest(pair.api_key, api_key.strip())]
    if not found:
        raise Refused("unknown_api_key", "the app has no live key pair with this API key")
    return found[0]


def act_of(mark: bytes, body: bytes) -> str:
    """What tells one act from another: 32 hex digits of a body, and of a mark that it was sent under."""
    return hashlib.sha256(len(mark).to_bytes(4) + mark + body).hexdigest()[:32]


# --- what may be kept


def unpacked(body: bytes) -> Any:
    """A body as JSON. Raises Refused when it is none, as its door would when it was released."""
    text_of(body)
    return decoded(msgspec.json.Decoder().decode, mended(body))


def without_secrets(value: Any) -> Any:
    """A decoded value without keys, addresses, and characters that no database keeps. Raises Refused."""
    return _without_secrets(clean(value))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items() if key.lower() not in SECRETS}
    return value
