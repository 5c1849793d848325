"""Who may sign in: a partner's owners see to their own people, operators to everybody.

There is no mail: a link that lets somebody in is shown once, to whoever made it, to be handed over.
"""

from __future__ import annotations

from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.account import LONGEST_NAME
from collector.portal.frame import OWNERS, NotFound, Page, Portal, read_form, see, sentence, who
from collector.portal.sign_in import is_known
from store import registry
from store.errors import ConfigError
from store.people import identities, roster, second_factor, sessions
from store.people.roster import PARTNER_ROLES, Person, Role


async def _own_person(portal: Portal, request: Request) -> Person:
    """The person in the path. Raises NotFound when there is none, or not one that who asks sees to."""
    found = await roster.person(portal.registry, request.path_params["person_id"])
    if found is None or who(request).partner_key not in (None, found.partner_key):
        raise NotFound
    return found


async def show(portal: Portal, request: Request) -> Response:
    """GET /people"""
    return await _list(portal, request)


async def _list(portal: Portal, request: Request, error: str = "", fields: dict[str, str] | None = None) -> Response:
    partner_key = who(request).partner_key
    values: dict[str, Any] = {
        "people": await roster.people(portal.registry, partner_key),
        "partners": [] if partner_key else await registry.partners(portal.registry),
        "roles": PARTNER_ROLES if partner_key else get_args(Role),
        "fields": fields or {},
        "error": error,
    }
    return portal.page(request, "people.html", values, 422 if error else 200)


async def invite(portal: Portal, request: Request) -> Response:
    """POST /people"""
    fields, me, now = await read_form(request), who(request), portal.now()
    partner_key = fields.get("partner") or me.partner_key  # none for operators, and for those whom they make one
    if me.partner_key not in (None, partner_key):
        raise NotFound
    role: Any = fields.get("role", "")
    name = fields.get("name", "").strip()
    try:
        if role not in get_args(Role) or (me.partner_key is not None and role not in PARTNER_ROLES):
            raise ConfigError("choose a role")
        if len(name) > LONGEST_NAME:
            raise ConfigError(f"a name has at most {LONGEST_NAME} characters")
        address, actor = fields.get("email", ""), me.person.email
        added = await roster.add(portal.writer, now, address, name, role, partner_key, actor)
    except ConfigError as error:
        return await _list(portal, request, sentence(error), fields)
    return await _link(portal, request, added)


async def _link(portal: Portal, request: Request, person: Person) -> Response:
    purpose: Any = "invitation" if person.invited else "reset"
    token = await portal.links.make(portal.writer, portal.now(), person, purpose, who(request).person.email)
    values = {"person": person, "purpose": purpose, "link": portal.url(f"/{purpose}?token={token}")}
    return portal.page(request, "person_link.html", values)


async def show_one(portal: Portal, request: Request) -> Response:
    """GET /people/{person_id}"""
    return await _show_one(portal, request, await _own_person(portal, request))


async def _show_one(portal: Portal, request: Request, person: Person, error: str = "") -> Response:
    values = {
        "person": person,
        "partner": await registry.partner_name(portal.registry, person.partner_key) if person.partner_key else None,
        "sessions": await sessions.of(portal.registry, portal.now(), person.person_id),
        "known": await is_known(portal, person),
        "roles": PARTNER_ROLES,
        "error": error,
    }
    return portal.page(request, "person.html", values, 422 if error else 200)


async def change_role(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/role"""
    person, me = await _own_person(portal, request), who(request)
    role: Any = (await read_form(request)).get("role", "")
    may_be_last = me.partner_key is None
    try:
        if role not in PARTNER_ROLES:
            raise ConfigError("choose a role")
        await roster.change_role(portal.writer, portal.now(), person, role, me.person.email, may_be_last=may_be_last)
    except ConfigError as error:
        return await _show_one(portal, request, person, sentence(error))
    return see(f"/people/{person.person_id}")


async def disable(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/disable"""
    person, me = await _own_person(portal, request), who(request)
    may_be_last = me.partner_key is None and person.partner_key is not None
    try:
        await roster.disable(portal.writer, portal.now(), person, me.person.email, may_be_last=may_be_last)
    except ConfigError as error:
        return await _show_one(portal, request, person, sentence(error))
    return see(f"/people/{person.person_id}")


async def enable(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/enable"""
    person = await _own_person(portal, request)
    await roster.enable(portal.writer, portal.now(), person, who(request).person.email)
    return see(f"/people/{person.person_id}")


async def make_link(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/link"""
    person = await _own_person(portal, request)
    if person.disabled_at is not None:
        return await _show_one(portal, request, person, "Whoever may not sign in gets no link.")
    return await _link(portal, request, person)


async def end_second_step(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/second-step/end: for whoever lost their phone and their recovery codes."""
    person = await _own_person(portal, request)
    await second_factor.end(portal.writer, portal.now(), person, who(request).person.email)
    return see(f"/people/{person.person_id}")


async def forget_identity(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/openid/end: for whoever has another account at the provider from now on."""
    person = await _own_person(portal, request)
    await identities.forget(portal.writer, portal.now(), person, who(request).person.email)
    return see(f"/people/{person.person_id}")


async def end_sessions(portal: Portal, request: Request) -> Response:
    """POST /people/{person_id}/sessions/end"""
    person = await _own_person(portal, request)
    await sessions.end_all(portal.writer, portal.now(), person, who(request).person.email)
    return see(f"/people/{person.person_id}")


PAGES = [
    Page("/people", show, OWNERS),
    Page("/people", invite, OWNERS, "POST", proved=True),
    Page("/people/{person_id}", show_one, OWNERS),
    Page("/people/{person_id}/role", change_role, OWNERS, "POST", proved=True),
    Page("/people/{person_id}/disable", disable, OWNERS, "POST"),
    Page("/people/{person_id}/enable", enable, OWNERS, "POST", proved=True),
    Page("/people/{person_id}/link", make_link, OWNERS, "POST", proved=True),
    Page("/people/{person_id}/second-step/end", end_second_step, OWNERS, "POST", proved=True),
    Page("/people/{person_id}/openid/end", forget_identity, OWNERS, "POST", proved=True),
    Page("/people/{person_id}/sessions/end", end_sessions, OWNERS, "POST"),
]
