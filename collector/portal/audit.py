"""Who did what, newest first: changes of the registry, made here or by a command, and sign-ins.

Operators see every line; a partner's owners see those about their people, apps and tokens, and of what the marketplace
did to them not who it was there.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import OPERATORS, OWNERS, Page, Portal, who
from collector.portal.reading import given
from store import audit
from store.audit import Line, Wanted
from store.engines import open_reader
from store.people import roster

A_PAGE = 50
DAY_MS = 86_400_000
FIELDS = ("person", "action", "subject", "from", "until")
THE_MARKETPLACE = "the marketplace"
ACTIONS = {
    "app.add": "App added",
    "app.attribution": "Attribution set",
    "app.describe": "App described",
    "app.remove-destination": "Destination removed",
    "app.set": "Destination set",
    "app.verify": "Write key proved",
    "authentication.add-key": "Key pair made",
    "authentication.mode": "Authentication set",
    "authentication.revoke-key": "Key pair revoked",
    "event.delete": "Event deleted",
    "event.set": "Event set",
    "marketplace.attribution": "Attribution set for all apps",
    "park.drop": "Parked events dropped",
    "park.release": "Parked events released",
    "partner.add": "Partner added",
    "person.add": "Person added",
    "person.disable": "Sign-in taken away",
    "person.enable": "Sign-in given back",
    "person.identity": "Known to a provider",
    "person.invitation": "Invited",
    "person.password": "Password set",
    "person.recovery-code": "Recovery code used",
    "person.recovery-codes": "Recovery codes made",
    "person.rename": "Renamed",
    "person.reset": "Link for a new password",
    "person.role": "Role changed",
    "person.second-factor": "Second step",
    "person.sign-in": "Signed in",
    "person.sign-out": "Signed out",
    "person.wrong-code": "Wrong code",
    "postback.add": "Webhook added",
    "postback.disabled": "Postbacks disabled",
    "postback.enable": "Postbacks enabled again",
    "postback.give-up": "Postbacks given up",
    "postback.remove": "Webhook removed",
    "postback.retry": "Postbacks tried again",
    "postback.secret": "Webhook's secret changed",
    "postback.set": "Postbacks set",
    "quarantine.drop": "Calls dropped from quarantine",
    "quarantine.release": "Calls released from quarantine",
    "replay.add": "Events sent again",
    "replay.cancel": "Sending again cancelled",
    "resume": "Tried again",
    "secret.rotate": "Secret key rotated",
    "token.add": "Token made",
    "token.revoke": "Token revoked",
}


async def show(portal: Portal, request: Request) -> Response:
    """GET /audit and GET /operator/audit"""
    partner_key = who(request).partner_key
    fields = {name: given(request, name) for name in FIELDS}
    wanted = Wanted(
        person=fields["person"],
        action=fields["action"],
        subject=fields["subject"],
        since=midnight(fields["from"]) or 0,
        until=(midnight(fields["until"]) or (1 << 53) - DAY_MS) + DAY_MS,
        before=given(request, "before"),
    )
    values = {"fields": fields, "actions": ACTIONS, "people": [], "page": request.scope["path"]}
    if partner_key is None:
        found = await audit.lines(portal.registry, wanted, A_PAGE + 1)
    else:
        own = [person.email for person in await roster.people(portal.registry, partner_key)]
        found = await _own(portal, wanted, partner_key, own)
        values["people"] = own
    shown = found[:A_PAGE]
    values |= {"lines": shown, "filtered": any(fields.values()) or wanted.before, "older": ""}
    if len(found) > A_PAGE:
        filters = {name: text for name, text in fields.items() if text}
        values["older"] = urlencode(filters | {"before": shown[-1].audit_id})
    return portal.page(request, "audit.html" if partner_key is None else "own_audit.html", values)


async def _own(portal: Portal, wanted: Wanted, partner_key: str, own: Collection[str]) -> list[Line]:
    """A partner's lines; the database itself shows no others, where it can. Nobody is asked for who is not theirs."""
    if wanted.person and wanted.person not in own:
        return []
    async with await open_reader(portal.settings.where, "registry", partner_key) as db:
        found = await audit.lines(db, wanted, A_PAGE + 1, partner_key)
    return [msgspec.structs.replace(line, actor=line.actor if line.actor in own else THE_MARKETPLACE) for line in found]


def midnight(text: str) -> int | None:
    """When a day begins, in UTC, epoch milliseconds; None for what is no day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return max(0, int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000)


PAGES = [
    Page("/audit", show, OWNERS),
    Page("/operator/audit", show, OPERATORS),
]
