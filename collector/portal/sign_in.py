"""Signing in and out, and taking up an invitation or setting a password anew by a link."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import (
    VIEWERS,
    NotFound,
    Page,
    Portal,
    client_address,
    local_path,
    read_form,
    see,
    who,
    with_session,
    without_session,
)
from store import passwords, patience, people, registry, sessions
from store.errors import ConfigError
from store.links import Purpose

_threads = ThreadPoolExecutor(1, "passwords")  # apart from all else: a flood of tries waits for itself
WRONG = "The address and the password do not belong together."


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
    try:
        fields = await read_form(request)
    except ConfigError as error:
        return portal.page(request, "error.html", {"title": "Not understood", "text": str(error)}, 400)
    email, password, then = fields.get("email", ""), fields.get("password", ""), local_path(fields.get("next", "/"))
    now, address = portal.now(), client_address(request)
    told = {"email": email, "then": then}
    wait = await patience.spend(portal.writer, now, address, email)
    if wait:
        seconds = wait // 1_000 + 1
        said = f"Those were many tries. The next will be looked at in {seconds} seconds."
        response = portal.page(request, "sign_in.html", told | {"error": said}, 429)
        response.headers["Retry-After"] = str(seconds)
        return response
    person = await people.by_email(portal.registry, email)
    right = await off_loop(passwords.is_right, person.password_hash if person else "", password)
    if not right or person is None or person.disabled_at is not None:
        return portal.page(request, "sign_in.html", told | {"error": WRONG}, 403)
    await patience.restore(portal.writer, address, email)
    token = await sessions.begin(portal.writer, now, person, address, request.headers.get("user-agent", ""))
    return with_session(portal, see(then), token)


async def sign_out(portal: Portal, request: Request) -> Response:
    """POST /sign-out"""
    me = who(request)
    await sessions.end(portal.writer, me.person.person_id, me.session.session_id)
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
        try:
            fields = await read_form(request)
        except ConfigError as error:
            return portal.page(request, "error.html", {"title": "Not understood", "text": str(error)}, 400)
        token, now = fields.get("token", ""), portal.now()
        person = await portal.links.read(portal.registry, now, token, purpose)
        if person is None:
            raise NotFound
        password = fields.get("password", "")
        try:
            await off_loop(passwords.check_new, password, [person.email, person.name])
        except ConfigError as error:
            values = {"title": title, "person": person, "partner": None, "token": token, "purpose": purpose}
            return portal.page(request, "link.html", values | {"error": f"{error}."}, 422)
        used = await portal.links.use(portal.writer, now, token, purpose, await off_loop(passwords.hashed, password))
        if used is None:
            raise NotFound
        agent = request.headers.get("user-agent", "")
        begun = await sessions.begin(portal.writer, now, used, client_address(request), agent)
        return with_session(portal, see("/"), begun)

    return Page(f"/{purpose}", show, None), Page(f"/{purpose}", use, None, "POST")


PAGES = [
    Page("/sign-in", form, None),
    Page("/sign-in", sign_in, None, "POST"),
    Page("/sign-out", sign_out, VIEWERS, "POST"),
    *_link("invitation"),
    *_link("reset"),
]
