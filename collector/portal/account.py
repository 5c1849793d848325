"""One's own account: name, password, the second step, and where one is signed in."""

from __future__ import annotations

from typing import Any

import segno
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import (
    VIEWERS,
    NotFound,
    Page,
    Portal,
    client_address,
    read_form,
    see,
    sentence,
    who,
    with_session,
)
from collector.portal.sign_in import off_loop, too_many
from store.errors import ConfigError
from store.people import passwords, patience, roster, second_factor, sessions, totp

LONGEST_NAME = 100
BORDER = 4  # modules of white around a QR code


async def show(portal: Portal, request: Request) -> Response:
    """GET /account"""
    return await _page(portal, request)


async def _page(portal: Portal, request: Request, status: int = 200, **errors: str) -> Response:
    me = who(request)
    values = {
        "sessions": await sessions.of(portal.registry, portal.now(), me.person.person_id),
        "this": me.session.session_id,
        "codes_left": await second_factor.codes_left(portal.registry, me.person),
        "errors": errors,
        "saved": request.query_params.get("saved", ""),
    }
    return portal.page(request, "account.html", values, status)


async def rename(portal: Portal, request: Request) -> Response:
    """POST /account/name"""
    name = (await read_form(request)).get("name", "").strip()
    if len(name) > LONGEST_NAME:
        return await _page(portal, request, 422, name=f"A name has at most {LONGEST_NAME} characters.")
    me = who(request).person
    await roster.rename(portal.writer, portal.now(), me, name, me.email)
    return see("/account?saved=name")


async def change_password(portal: Portal, request: Request) -> Response:
    """POST /account/password: every session ends, and this browser gets another."""
    fields, me, now = await read_form(request), who(request).person, portal.now()
    address, new = client_address(request), fields.get("new", "")
    wait = await patience.spend(portal.writer, now, address, me.email)
    if wait:
        return too_many(portal, request, wait, "prove.html", {"then": "/account", "known": False})
    if not await off_loop(passwords.is_right, me.password_hash, fields.get("old", "")):
        return await _page(portal, request, 403, new="That is not your password.")
    await patience.restore(portal.writer, address, me.email)
    try:
        await off_loop(passwords.check_new, new, [me.email, me.name])
    except ConfigError as error:
        return await _page(portal, request, 422, new=sentence(error))
    hashed = await off_loop(passwords.hashed, new)
    async with portal.writer.transaction():
        await roster.set_password(portal.writer, now, me, hashed, me.email)
    token = await sessions.begin(portal.writer, now, me, address, request.headers.get("user-agent", ""))
    return with_session(portal, see("/account?saved=password"), token)


async def end_session(portal: Portal, request: Request) -> Response:
    """POST /account/sessions: end one of one's own, or all others."""
    named, me, now = (await read_form(request)).get("session", ""), who(request), portal.now()
    if named == "others":
        await sessions.end_others(portal.writer, now, me.person, me.session)
    elif not await sessions.end(portal.writer, now, me.person, named):
        raise NotFound
    return see("/account?saved=sessions")


async def set_up(portal: Portal, request: Request) -> Response:
    """GET /account/second-step"""
    secret, ticket = portal.tickets.for_app(who(request).person, portal.now())
    return _set_up(portal, request, secret, ticket)


def _set_up(portal: Portal, request: Request, secret: str, ticket: str, error: str = "") -> Response:
    picture = qr_code(totp.address(secret, who(request).person.email))
    groups = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    values = {"picture": picture, "secret": groups, "ticket": ticket, "error": error}
    return portal.page(request, "second_step_set_up.html", values, 422 if error else 200)


async def begin_second_step(portal: Portal, request: Request) -> Response:
    """POST /account/second-step"""
    fields, me, now = await read_form(request), who(request).person, portal.now()
    ticket = fields.get("ticket", "")
    secret = portal.tickets.secret(me, now, ticket)
    if secret is None:
        return see("/account/second-step")
    codes = await second_factor.begin(portal.writer, portal.vault, now, me, secret, fields.get("code", ""))
    if codes is None:
        return _set_up(portal, request, secret, ticket, "This is not the code of now. Is the clock of the phone right?")
    return portal.page(request, "recovery_codes.html", {"codes": codes})


async def renew_codes(portal: Portal, request: Request) -> Response:
    """POST /account/recovery-codes"""
    me = who(request).person
    if me.totp_secret is None:
        return see("/account")
    codes = await second_factor.renew_codes(portal.writer, portal.now(), me)
    return portal.page(request, "recovery_codes.html", {"codes": codes})


async def end_second_step(portal: Portal, request: Request) -> Response:
    """POST /account/second-step/end"""
    me = who(request).person
    await second_factor.end(portal.writer, portal.now(), me, me.email)
    return see("/account?saved=second-step")


def qr_code(text: str) -> dict[str, Any]:
    """A QR code as one SVG path of unit squares, and the length of its side."""
    rows = [bytes(row) for row in segno.make(text, error="m", micro=False).matrix]
    path = "".join(
        f"M{x + BORDER} {y + BORDER}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
    )
    return {"path": path, "side": len(rows) + 2 * BORDER}


PAGES = [
    Page("/account", show, VIEWERS),
    Page("/account/name", rename, VIEWERS, "POST"),
    Page("/account/password", change_password, VIEWERS, "POST"),
    Page("/account/sessions", end_session, VIEWERS, "POST"),
    Page("/account/second-step", set_up, VIEWERS, proved=True),
    Page("/account/second-step", begin_second_step, VIEWERS, "POST", proved=True),
    Page("/account/second-step/end", end_second_step, VIEWERS, "POST", proved=True),
    Page("/account/recovery-codes", renew_codes, VIEWERS, "POST", proved=True),
]
