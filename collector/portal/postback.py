"""One target of an app's postbacks: a webhook's settings, template and secret, its test, and what became of each
conversion and each request.

A webhook's secret is on the page that follows its making, and never again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.deliveries import older
from collector.portal.frame import EDITORS, VIEWERS, NotFound, Page, Portal, read_form, see, who
from collector.portal.postbacks import DELAYS, DELIVERIES, STATES, entered, standing, waiting, wished
from collector.portal.reading import given, stores
from collector.portal.words import OUTCOMES, sentence
from store.endpoint import Allowed, checked_hook
from store.errors import ConfigError
from store.postbacks import delivering, intents, reading, targets
from store.postbacks.delivering import Health
from store.postbacks.reading import LAST, NO_END
from store.postbacks.targets import MOST_RETRIES, Target, Wishes
from store.registry import App
from wire import macros, signature
from wire.hook import Hook
from wire.macros import Form

PAGE = 50
MOST_AT_ONCE = 5_000
AGAIN_SECONDS = 5.0  # between two test postbacks of one webhook
MAX_URL = 1_000
_threads = ThreadPoolExecutor(2, "test-postback")
_tested: dict[str, float] = {}


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/postbacks/{target_id}"""
    app = await own_app(portal, request)
    return await _page(portal, request, app, await _target(portal, request, app), {})


async def new(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/postbacks/new"""
    return _form(portal, request, await own_app(portal, request), None, {})


async def change(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/postbacks/{target_id}/change"""
    app = await own_app(portal, request)
    return _form(portal, request, app, await _webhook(portal, request, app), {})


async def _target(portal: Portal, request: Request, app: App) -> Target:
    wanted = request.path_params["target_id"]
    for found in await targets.of_apps(portal.registry, [app.app_key]):
        if found.target_id == wanted:
            return found
    raise NotFound


async def _webhook(portal: Portal, request: Request, app: App) -> Target:
    found = await _target(portal, request, app)
    if found.kind != "webhook":
        raise NotFound
    return found


def _values(app: App, old: Target | None, fields: dict[str, str]) -> dict[str, Any]:
    """What the form of a webhook shows."""
    shown = entered(old, fields)
    if old is None and not fields:
        shown |= {"name": "", "template": macros.DEFAULT, "active": True}
    return {
        "app": app,
        "target": old,
        "entered": shown,
        "delays": DELAYS,
        "deliveries": DELIVERIES,
        "most_retries": MOST_RETRIES,
        "macros": macros.MACROS,
        "preview": "",
        "preview_url": "",
        "error": "",
    }


def _form(
    portal: Portal, request: Request, app: App, old: Target | None, fields: dict[str, str], **more: Any
) -> Response:
    """The form alone: of a new webhook, or of one whose entries are wrong or are looked at first."""
    values = _values(app, old, fields) | more
    return portal.page(request, "webhook_form.html", values, 422 if values["error"] else 200)


async def _page(
    portal: Portal, request: Request, app: App, target: Target, values: dict[str, Any], status: int = 200
) -> Response:
    state = given(request, "state") if given(request, "state") in STATES else None
    outcome = given(request, "outcome") if given(request, "outcome") in OUTCOMES else None
    place, before = _place(given(request, "before")), given(request, "sent_before") or LAST
    async with stores(portal, request) as opened:
        health, sums = Health(), dict[tuple[str, str], int]()
        found, attempts = list[delivering.Postback](), list[reading.Attempt]()
        if opened.ledger is not None:
            fares = await delivering.health(opened.ledger, app.app_key)
            health = fares.get(target.keys, Health())
            sums = await reading.sums(opened.ledger, target.keys)
            found = await reading.page(opened.ledger, target.keys, state, place, PAGE + 1)
            attempts = await reading.attempts(opened.ledger, target.keys, outcome, before, PAGE + 1)
    wishes = [wish for wish in await waiting(portal, app) if wish.target_id == target.target_id]
    enabling = any(wish.action == "enable" for wish in wishes)
    filters = {"state": state, "outcome": outcome}
    last = found[PAGE - 1] if len(found) > PAGE else None
    told = _values(app, target, {}) | {
        "states": standing(target, health, enabling, portal.now()),
        "disabled": bool(health.disabled_at) and not enabling,
        "sums": sorted(sums.items()),
        "names": STATES,
        "outcomes": OUTCOMES,
        "filters": filters,
        "found": found[:PAGE],
        "wishes": {wish.seq: wish.action for wish in reversed(list(wishes))},
        "older": older(filters | {"before": f"{last.converted_at}-{last.seq}"}) if last else "",
        "attempts": attempts[:PAGE],
        "sent_older": older(filters | {"sent_before": attempts[PAGE - 1].attempt_id}) if len(attempts) > PAGE else "",
        "two_secrets": target.old_secret is not None and portal.now() < target.old_until,
        "most": MOST_AT_ONCE,
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
        "answer": None,
    }
    return portal.page(request, "postback.html", told | values, status)


NOTICES = {
    "saved": "Saved.",
    "enable": "It is tried again with the exporter's next run.",
    "retry": "They are tried again with the exporter's next run.",
    "give_up": "They are given up with the exporter's next run.",
    "end": "Only the newest secret signs from now on.",
}


def _place(text: str) -> tuple[int, int]:
    """Where an older page begins: a time and a seq."""
    at, _, seq = text.partition("-")
    plain = all(part.isascii() and part.isdigit() and len(part) < 17 for part in (at, seq))
    return (int(at), int(seq)) if plain else (NO_END, 0)


async def make(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks/new"""
    return await _save(portal, request, await own_app(portal, request), None)


async def save(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks/{target_id}"""
    app = await own_app(portal, request)
    return await _save(portal, request, app, await _webhook(portal, request, app))


async def _save(portal: Portal, request: Request, app: App, old: Target | None) -> Response:
    """What was entered, or with `do` preview what it would send."""
    fields = await read_form(request)
    try:
        wishes = _wishes(portal, fields)
        if fields.get("do") == "preview":
            url, body = _hook(portal, wishes).request(sample(app, wishes))
            return _form(portal, request, app, old, fields, preview=_shown(body), preview_url=url)
        actor, now = who(request).person.email, portal.now()
        if old is not None:
            await targets.change_webhook(portal.writer, now, old, wishes, actor)
            return see(f"{_base(app)}/{old.target_id}?done=saved")
        secret = signature.new_secret()
        made = await targets.add_webhook(portal.writer, portal.vault, now, app.app_key, wishes, secret, actor)
    except (ConfigError, ValueError) as error:
        return _form(portal, request, app, old, fields, error=f"{sentence(str(error))}.")
    return portal.page(request, "webhook_secret.html", {"app": app, "target": made, "secret": secret})


def _base(app: App) -> str:
    return f"/apps/{app.app_key}/deliveries/postbacks"


def _wishes(portal: Portal, fields: dict[str, str]) -> Wishes:
    """What was entered, checked. Raises ConfigError or ValueError."""
    wishes = wished(fields)
    targets.check(wishes)
    macros.check(wishes.template, "form" if wishes.form == "form" else "json")
    base, mark, query = wishes.url.partition("?")
    if len(wishes.url) > MAX_URL:
        raise ConfigError(f"an address has at most {MAX_URL} characters")
    try:
        base = checked_hook(base, portal.settings.allowed_destinations)
    except ValueError as error:
        raise ConfigError(f"the address must be {error}") from None
    macros.check_query(query)
    return msgspec.structs.replace(wishes, url=base + mark + query)


def _hook(portal: Portal, wishes: Wishes | Target, secrets: tuple[str, ...] = ()) -> Hook:
    form: Form = "form" if wishes.form == "form" else "json"
    return Hook(wishes.url, form, wishes.template, secrets)


def _shown(body: bytes) -> str:
    """A body as a person reads it."""
    try:
        return msgspec.json.format(body, indent=2).decode()
    except msgspec.DecodeError:
        return body.decode()


def sample(app: App, of: Wishes | Target) -> dict[str, macros.Value]:
    """Values of an install that never was, for looking and for tests."""
    return dict.fromkeys(macros.MACROS) | {
        "event.name": "install",
        "event.id": "5b6f0c1e-0000-4000-8000-000000000000",
        "event.time": "2026-02-16T12:00:00.123Z",
        "event.time_ms": 1_771_243_200_123,
        "event.value": 4.99,
        "event.currency": "EUR",
        "decision.kind": "attributed",
        "decision.method": "test",
        "decision.time": "2026-02-16T12:05:00.000Z",
        "decision.version": 1,
        "campaign.source": "newsletter",
        "campaign.name": 'Spring "sale" & more',
        "campaign.medium": "email",
        "click.id": "test-click",
        "ids.anonymous_id": "0" * 40,
        "app.key": app.app_key,
        "app.name": app.name,
        "app.id": app.plugin_id,
        "partner.id": app.partner_id,
        "provider": of.provider,
        "message.id": str(uuid.uuid4()),
    }


async def test(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks/{target_id}/test"""
    app = await own_app(portal, request)
    target = await _webhook(portal, request, app)
    began = time.monotonic()
    if began - _tested.get(target.target_id, -AGAIN_SECONDS) < AGAIN_SECONDS:
        error = "A test left only a moment ago: look for that one first."
        return await _page(portal, request, app, target, {"error": error}, 422)
    _tested[target.target_id] = began
    try:
        hook = _hook(portal, target, tuple(target.secrets(portal.vault, portal.now())))
    except ConfigError as error:
        return await _page(portal, request, app, target, {"error": f"{sentence(str(error))}."}, 422)
    allowed = portal.settings.allowed_destinations
    values = sample(app, target)
    answer = await asyncio.get_running_loop().run_in_executor(_threads, _try_out, hook, values, allowed)
    answer |= {"took": round((time.monotonic() - began) * 1_000), "message_id": values["message.id"]}
    return await _page(portal, request, app, target, {"answer": answer})


def _try_out(hook: Hook, values: macros.Values, allowed: Allowed) -> dict[str, Any]:
    from wire import webhook  # with an HTTP client, which is long to load and seldom asked for here

    reply = webhook.send(hook, values, allowed)
    judged = webhook.judge(reply)
    return {"status": reply.status, "said": judged.detail, "good": judged.kind == "accepted"}


async def renew(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks/{target_id}/secret"""
    app = await own_app(portal, request)
    target = await _webhook(portal, request, app)
    secret, actor = signature.new_secret(), who(request).person.email
    made = await targets.rotate_secret(portal.writer, portal.vault, portal.now(), target, secret, actor)
    return portal.page(request, "webhook_secret.html", {"app": app, "target": made, "secret": secret})


async def act(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks/{target_id}/act"""
    app = await own_app(portal, request)
    target = await _target(portal, request, app)
    fields = await read_form(request)
    action, actor, now = fields.get("action", ""), who(request).person.email, portal.now()
    if action == "remove" and target.kind == "webhook":
        await targets.remove(portal.writer, now, target, actor)
        return see(f"{_base(app)}?done=removed")
    if action == "end" and target.kind == "webhook":
        await targets.end_old_secret(portal.writer, now, target, actor)
    elif action == "enable":
        await intents.ask(portal.writer, now, app.app_key, target.target_id, "enable", [0], actor)
    elif action in ("retry", "give_up"):
        seqs = await _named(portal, request, target, fields, "given_up" if action == "retry" else "pending")
        asked: intents.Action = "retry" if action == "retry" else "give_up"
        await intents.ask(portal.writer, now, app.app_key, target.target_id, asked, seqs, actor)
    else:
        raise NotFound
    return see(f"{_base(app)}/{target.target_id}?done={action}")


async def _named(portal: Portal, request: Request, target: Target, fields: dict[str, str], state: str) -> list[int]:
    """The conversions that a form means: one, or all in a state. Raises NotFound when there is none."""
    seq = fields.get("seq", "")
    one = int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 17 else 0
    async with stores(portal, request) as opened:
        if opened.ledger is None:
            raise NotFound
        if fields.get("all"):
            found = await reading.page(opened.ledger, target.keys, state, limit=MOST_AT_ONCE)
            seqs = [each.seq for each in found]
        else:
            seqs = list(await delivering.some(opened.ledger, target.keys, [one]))
    if not seqs:
        raise NotFound
    return seqs


PAGES = [
    Page("/apps/{app_key}/deliveries/postbacks/new", new, EDITORS),
    Page("/apps/{app_key}/deliveries/postbacks/new", make, EDITORS, "POST", proved=True),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}", show, VIEWERS),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}", save, EDITORS, "POST", proved=True),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}/change", change, EDITORS),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}/secret", renew, EDITORS, "POST", proved=True),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}/test", test, EDITORS, "POST"),
    Page("/apps/{app_key}/deliveries/postbacks/{target_id}/act", act, EDITORS, "POST"),
]
