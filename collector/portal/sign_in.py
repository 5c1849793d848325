"""Signing in and out, giving the password again, and taking up an invitation or setting a password anew by a link."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import journal
from collector.portal.frame import (
    VIEWERS,
    NotFound,
    Page,
    Portal,
    client_address,
    local_path,
    read_form,
    see,
    sentence,
    who,
    with_session,
    without_session,
)
from store import registry
from store.errors import ConfigError
from store.people import identities, passwords, patience, roster, second_factor, sessions
from store.people.links import Purpose
from store.people.roster import Person

_threads = ThreadPoolExecutor(1, "passwords")  # apart from all else: a flood of tries waits for itself
WRONG = "The address and the password do not belong together."
WRONG_CODE = "This code is wrong, or was used already. Take the next one."


async def off_loop(function: Any, *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *args)


async def form(portal: Portal, request: Request) -> Response:
    """GET /sign-in"""
    then = local_path(request.query_params.get("next", "/"))
    if request.state.who is not None:
        return see(then)
    return portal.page(request, "sign_in.html", {"email": "", "then": then, "error": ""})


async def sign_in(portal: Portal, request: Request) -> Response:
    """POST /sign-in"""
    fields = await read_form(request)
    email, password, then = fields.get("email", ""), fields.get("password", ""), local_path(fields.get("next", "/"))
    told = {"email": email, "then": then}
    wait = await patience.spend(portal.writer, portal.now(), client_address(request), email)
    if wait:
        return too_many(portal, request, wait, "sign_in.html", told)
    person = await roster.by_email(portal.registry, email)
    right = await off_loop(passwords.is_right, person.password_hash if person else "", password)
    if not right or person is None or person.disabled_at is not None:
        journal.note("a sign-in was refused", "warning", by="password")
        return portal.page(request, "sign_in.html", told | {"error": WRONG}, 403)
    return await after_first(portal, request, person, then, "password")


def too_many(portal: Portal, request: Request, wait: int, template: str, told: dict[str, Any]) -> Response:
    """The answer to a try that is not looked at; `wait` in milliseconds."""
    seconds = wait // 1_000 + 1
    said = f"Those were many tries. The next will be looked at in {seconds} seconds."
    response = portal.page(request, template, told | {"error": said}, 429)
    response.headers["Retry-After"] = str(seconds)
    return response


async def after_first(portal: Portal, request: Request, person: Person, then: str, how: str) -> Response:
    """The password was right, or what stands for it, as `how` says: in, or on to the second step."""
    if person.totp_secret is not None:
        ticket = portal.tickets.after_first(person, how)
        return portal.page(request, "second_step.html", {"ticket": ticket, "then": then, "error": ""})
    return await let_in(portal, request, person, then, how)


async def let_in(portal: Portal, request: Request, person: Person, then: str, how: str) -> Response:
    """Whatever session the browser had before ends, so that nobody can have planted it."""
    address, before, now = client_address(request), request.state.who, portal.now()
    if before is not None:
        await sessions.end(portal.writer, now, before.person, before.session.session_id)
    await patience.restore(portal.writer, address, person.email)
    token = await sessions.begin(portal.writer, now, person, address, request.headers.get("user-agent", ""), how)
    return with_session(portal, see(then), token)


async def second_step(portal: Portal, request: Request) -> Response:
    """POST /sign-in/code"""
    fields = await read_form(request)
    ticket, then = fields.get("ticket", ""), local_path(fields.get("next", "/"))
    person, how = await portal.tickets.whose(portal.registry, ticket) or (None, "")
    if person is None or person.totp_secret is None:
        told = {"email": "", "then": then, "error": "That took too long. Begin again."}
        return portal.page(request, "sign_in.html", told, 403)
    now, told = portal.now(), {"ticket": ticket, "then": then}
    wait = await patience.spend(portal.writer, now, client_address(request), person.email, person.person_id)
    if wait:
        return too_many(portal, request, wait, "second_step.html", told)
    taken = await second_factor.take(portal.writer, portal.vault, now, person, fields.get("code", ""))
    if taken is None:
        await second_factor.refuse(portal.writer, now, person, how)
        return portal.page(request, "second_step.html", told | {"error": WRONG_CODE}, 403)
    return await let_in(portal, request, person, then, f"{how}, {taken}")


async def ask_again(portal: Portal, request: Request) -> Response:
    """GET /prove"""
    return await prove_page(portal, request, local_path(request.query_params.get("next", "/")))


async def prove_page(portal: Portal, request: Request, then: str, error: str = "", status: int = 200) -> Response:
    """Asks for what proves that it is them: the password, or the provider where they signed in by it."""
    told = {"then": then, "error": error, "known": await is_known(portal, who(request).person)}
    return portal.page(request, "prove.html", told, status)


async def is_known(portal: Portal, person: Person) -> bool:
    """Whether somebody has signed in by the provider that there is now."""
    return portal.provider is not None and await identities.is_known(portal.registry, portal.provider.issuer, person)


async def prove(portal: Portal, request: Request) -> Response:
    """POST /prove"""
    fields, me = await read_form(request), who(request)
    then = local_path(fields.get("next", "/"))
    wait = await patience.spend(portal.writer, portal.now(), client_address(request), me.person.email)
    if wait:
        return too_many(portal, request, wait, "prove.html", {"then": then, "known": False})
    if not await off_loop(passwords.is_right, me.person.password_hash, fields.get("password", "")):
        return await prove_page(portal, request, then, "That is not your password.", 403)
    await patience.restore(portal.writer, client_address(request), me.person.email)
    await sessions.prove(portal.writer, portal.now(), me.session)
    return see(then)


async def sign_out(portal: Portal, request: Request) -> Response:
    """POST /sign-out"""
    me = who(request)
    await sessions.end(portal.writer, portal.now(), me.person, me.session.session_id)
    return without_session(portal, see("/sign-in"))


def _link(purpose: Purpose) -> tuple[Page, Page]:
    title = "Set your password" if purpose == "reset" else "Welcome"

    async def show(portal: Portal, request: Request) -> Response:
        token = request.query_params.get("token", "")
        person = await portal.links.read(portal.registry, portal.now(), token, purpose)
        if person is None:
            raise NotFound
        partner = await registry.partner_name(portal.registry, person.partner_key) if person.partner_key else None
        values = {"title": title, "person": person, "partner": partner, "token": token, "error": "", "purpose": purpose}
        return portal.page(request, "link.html", values)

    async def use(portal: Portal, request: Request) -> Response:
        fields = await read_form(request)
        token, now = fields.get("token", ""), portal.now()
        person = await portal.links.read(portal.registry, now, token, purpose)
        if person is None:
            raise NotFound
        password = fields.get("password", "")
        try:
            await off_loop(passwords.check_new, password, [person.email, person.name])
        except ConfigError as error:
            values = {"title": title, "person": person, "partner": None, "token": token, "purpose": purpose}
            return portal.page(request, "link.html", values | {"error": sentence(error)}, 422)
        used = await portal.links.use(portal.writer, now, token, purpose, await off_loop(passwords.hashed, password))
        if used is None:
            raise NotFound
        return await after_first(portal, request, used, "/", purpose)

    return Page(f"/{purpose}", show, None), Page(f"/{purpose}", use, None, "POST")


PAGES = [
    Page("/sign-in", form, None),
    Page("/sign-in", sign_in, None, "POST"),
    Page("/sign-in/code", second_step, None, "POST"),
    Page("/sign-out", sign_out, VIEWERS, "POST"),
    Page("/prove", ask_again, VIEWERS),
    Page("/prove", prove, VIEWERS, "POST"),
    *_link("invitation"),
    *_link("reset"),
]
