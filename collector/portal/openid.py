"""Signing in by OpenID Connect, and proving by it that it is still them: out to the provider, and back.

What has to come back from there waits in a cookie of its own, signed and short-lived, so that only the browser that
went can come back, and nothing is kept for who never does. Whoever is not there already is not let in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import journal
from collector.portal.frame import (
    HEADERS,
    VIEWERS,
    NotFound,
    Page,
    Portal,
    client_address,
    local_path,
    see,
    who,
)
from collector.portal.sign_in import after_first, let_in, prove_page, too_many
from store.errors import ConfigError, Refused, StoreUnavailable, Unavailable
from store.people import identities, patience, roster, sessions
from store.people.roster import Person
from store.ring import ring_of
from store.secrets import derived
from store.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collector.provider import Asked, Identity, Provider

P = ParamSpec("P")
T = TypeVar("T")
HOW = "OpenID Connect"
AWAY_SECONDS = 10 * 60  # for who has to find their phone there
_threads = ThreadPoolExecutor(4, "openid")


def provider_of(settings: Settings) -> Provider | None:
    """Where people sign in besides here; None: nowhere. Raises ConfigError when that cannot be."""
    if settings.oidc_issuer is None:
        return None
    try:
        from collector.provider import Provider
    except ImportError:
        raise ConfigError(
            f"{PREFIX}OIDC_ISSUER is set, and what it takes is not installed: pip install 'footfall[oidc]'"
        ) from None
    return Provider(settings)


class Away(msgspec.Struct, frozen=True):
    """What a browser that is away takes along: what has to come back, where it goes on, since when (epoch
    milliseconds), and, where it is only to prove who it is, whose it was."""

    state: str
    nonce: str
    verifier: str
    then: str
    since: int
    person_id: str

    def asked(self) -> Asked:
        from collector.provider import Asked

        return Asked(self.state, self.nonce, self.verifier)


def _cookie(portal: Portal) -> str:
    return f"{portal.cookie}-openid"


def _signer(portal: Portal) -> URLSafeSerializer:
    keys = [derived(key, "openid") for key in reversed(ring_of(portal.settings.secret_key).keys)]
    return URLSafeSerializer(keys, salt="footfall openid")


def _read(portal: Portal, request: Request) -> Away | None:
    """Who comes back as who went; None for who did not, or too long ago."""
    try:
        told = _signer(portal).loads(request.cookies.get(_cookie(portal), ""))
        away = msgspec.convert(told, Away)
    except (BadSignature, ValueError):
        return None
    came = request.query_params.get("state", "")
    fresh = 0 <= portal.now() - away.since < AWAY_SECONDS * 1_000
    return away if fresh and secrets.compare_digest(came.encode(), away.state.encode()) else None


async def _off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: function(*args, **kwargs))


def _provider(portal: Portal) -> Provider:
    if portal.provider is None:
        raise NotFound
    return portal.provider


async def begin(portal: Portal, request: Request) -> Response:
    """GET /sign-in/openid"""
    provider, then = _provider(portal), local_path(request.query_params.get("next", "/"))
    if request.state.who is not None:
        return see(then)
    return await _send(portal, request, provider, then)


async def prove(portal: Portal, request: Request) -> Response:
    """GET /prove/openid"""
    provider, me = _provider(portal), who(request).person
    return await _send(portal, request, provider, local_path(request.query_params.get("next", "/")), me.person_id)


async def _send(portal: Portal, request: Request, provider: Provider, then: str, person_id: str = "") -> Response:
    now = portal.now()
    try:
        url, asked = await _off_loop(provider.ask, now, again=bool(person_id))
    except Unavailable as error:
        return await _failed(portal, request, then, error, bool(person_id))
    away = Away(asked.state, asked.nonce, asked.verifier, then, now, person_id)
    response = RedirectResponse(url, 303, HEADERS)
    response.set_cookie(
        _cookie(portal),
        str(_signer(portal).dumps(msgspec.to_builtins(away))),
        max_age=AWAY_SECONDS,
        secure=portal.secure,
        httponly=True,
        samesite="lax",
    )
    return response


async def back(portal: Portal, request: Request) -> Response:
    """GET /sign-in/openid/back"""
    provider, away = _provider(portal), _read(portal, request)
    if away is None:
        lost = Refused("another browser, or too late", "That took too long, or began in another browser. Begin again.")
        response = await _failed(portal, request, "/", lost, proving=False)
    else:
        response = await _come_back(portal, request, provider, away)
    response.delete_cookie(_cookie(portal), secure=portal.secure, httponly=True, samesite="lax")
    return response


async def _come_back(portal: Portal, request: Request, provider: Provider, away: Away) -> Response:
    now, address, proving = portal.now(), client_address(request), bool(away.person_id)
    wait = await patience.spend(portal.writer, now, address, provider.issuer)
    if wait and proving and request.state.who is not None:
        return too_many(portal, request, wait, "prove.html", {"then": away.then, "known": True})
    if wait:
        return too_many(portal, request, wait, "sign_in.html", {"email": "", "then": away.then})
    try:
        identity = await _off_loop(provider.identity, now, away.asked(), _code(request, provider))
        response = await (_proved if proving else _known)(portal, request, provider, away, identity)
    except StoreUnavailable:  # which is our own
        raise
    except (Refused, Unavailable) as error:
        return await _failed(portal, request, away.then, error, proving)
    await patience.restore(portal.writer, address, provider.issuer)
    return response


def _code(request: Request, provider: Provider) -> str:
    """What the browser brought. Raises Refused when that is a refusal, or comes from another provider (RFC 9207)."""
    told = request.query_params
    if told.get("iss", provider.issuer).rstrip("/") != provider.issuer:
        raise Refused("another issuer")
    if "error" in told or not told.get("code"):
        raise Refused("the provider let nobody in", f"{provider.name} let nobody in.")
    return told["code"]


async def _known(portal: Portal, request: Request, provider: Provider, away: Away, identity: Identity) -> Response:
    """Signed in there; and here, if they are somebody."""
    person = await _person(portal, provider, identity)
    if person is None or person.disabled_at is not None:
        raise Refused(
            "nobody who may sign in", f"Nobody who may sign in here is known by this account of {provider.name}."
        )
    if identity.mfa:
        return await let_in(portal, request, person, away.then, f"{HOW}, second step there")
    return await after_first(portal, request, person, away.then, HOW)


async def _person(portal: Portal, provider: Provider, identity: Identity) -> Person | None:
    """Who that is: by the subject that was kept, the first time by an address that the provider has verified."""
    found = await identities.whose(portal.registry, provider.issuer, identity.subject)
    if found is not None:
        return found
    if not identity.email:
        raise Refused("no verified address", f"{provider.name} does not say that your e-mail address is yours.")
    found = await roster.by_email(portal.registry, identity.email)
    if found is None or found.disabled_at is not None:
        return None
    kept = await identities.keep(portal.writer, portal.now(), provider.issuer, identity.subject, found)
    return found if kept else None


async def _proved(portal: Portal, request: Request, provider: Provider, away: Away, identity: Identity) -> Response:
    """The provider has just asked somebody again, and that is who is signed in here."""
    from collector.provider import SKEW_SECONDS

    if identity.known_at is None or identity.known_at < away.since / 1_000 - SKEW_SECONDS:
        raise Refused("not asked again", f"{provider.name} did not ask you again.")
    found, me = await identities.whose(portal.registry, provider.issuer, identity.subject), request.state.who
    if found is None or me is None or not found.person_id == me.person.person_id == away.person_id:
        raise Refused("somebody else", f"At {provider.name} you are somebody else than here.")
    await sessions.prove(portal.writer, portal.now(), me.session)
    return see(away.then)


async def _failed(portal: Portal, request: Request, then: str, error: Refused | Unavailable, proving: bool) -> Response:
    """One page for all that goes wrong: what they can do is there; the log has the reason, which holds no secret."""
    journal.note("a sign-in was refused", "warning", by=HOW, reason=error.reason)
    if isinstance(error, Unavailable):
        status, said = 503, f"{_provider(portal).name} does not answer now. Try again in a moment."
    else:
        status, said = (
            403,
            error.detail or f"What {_provider(portal).name} answered is not to be believed. Begin again.",
        )
    if proving and request.state.who is not None:
        return await prove_page(portal, request, then, said, status)
    return portal.page(request, "sign_in.html", {"email": "", "then": then, "error": said}, status)


PAGES = [
    Page("/sign-in/openid", begin, None),
    Page("/sign-in/openid/back", back, None),
    Page("/prove/openid", prove, VIEWERS),
]
