"""Kochava's server-to-server doors: installs, events, updates, links between ids, and clicks and impressions.

An app is named by its GUID in every call, and a request may be one call or a list of them, of several apps even; so
each call is judged for itself, and each app's rule on authentication holds for its own. What comes back is always a
JSON object, in the form that Kochava's senders know: `success` is 1 or 0.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors import authentication, calls
from collector.doors.authentication import Gate, Request, is_open, unpacked
from collector.doors.body import ClientGone, Headers, read_body, respond, retry_after
from collector.doors.calls import DOOR
from collector.doors.partner import Means, arrival
from collector.ingest import Arrival, Intake, Parked, Receipt, Turned
from store.entry import Held
from store.errors import Refused, Unavailable
from store.registry import App

MAX_BODY = 2 * 1024 * 1024
MAX_CALLS = 1_000
STATUS = {"too_large": 413, "too_many": 413, "unknown_app": 404, **authentication.STATUS}
TRACK_PATH, LINK_PATH = "/track/json", "/v1/cpi/identityLink.php"

Judged = Arrival | Turned | Parked


class Told(NamedTuple):
    """A decoded message, and the app that it is for."""

    place: int
    message: Any
    app: App


class Circumstances(NamedTuple):
    """Where and when calls came and are stored, epoch milliseconds, and the oldest that one of them may be."""

    path: str
    came_at: int
    received_at: int
    oldest: int = 0


class KochavaDoor:
    """The ASGI application behind both paths."""

    def __init__(
        self,
        intake: Intake,
        directory: Directory,
        means: Means,
        gate: Gate,
    ) -> None:
        self._intake = intake
        self._directory = directory
        self._means = means
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_at, asked = time.time_ns() // 1_000_000, time.monotonic()
        headers = dict(scope["headers"])
        try:
            self._intake.writer.check_open()
            body = await read_body(headers, receive, MAX_BODY)
            request = Request(DOOR, scope["path"], headers, body, received_at)
            messages, alone = messages_of(body)
            judged = await self._judge(request, messages, asked)
            places, items = sorted(judged), [judged[place] for place in sorted(judged)]
            receipt = await self._intake.ingest(DOOR, received_at, items, len(body))
        except ClientGone:
            return
        except Refused as refused:
            await self._intake.keep_refused(DOOR, received_at, Turned(refused, "", b""))
            await respond(send, STATUS.get(refused.reason, 400), [], failure(refused.reason, refused.detail))
        except Unavailable as error:
            self._intake.writer.shed(DOOR, received_at)
            await respond(send, 503, [retry_after(error)], failure("unavailable", "come back with the same body"))
        else:
            rejected = [(places[at], reason, detail) for at, reason, detail in receipt.rejected]
            action = action_of(scope["path"], messages[0]) if alone else None
            await respond(send, *answer(msgspec.structs.replace(receipt, rejected=rejected), alone, action))

    async def _judge(self, request: Request, messages: list[Any], asked: float) -> dict[int, Judged]:
        """What becomes of each message, by its place; those of one app that are parked are parked as one."""
        judged: dict[int, Judged] = {}
        found: dict[str, list[Told]] = {}
        for place, message in enumerate(messages):
            try:
                app = await self._app(message, asked)
            except Refused as refused:
                judged[place] = Turned(refused, "", kept(message))
            else:
                found.setdefault(app.app_key, []).append(Told(place, message, app))
        for told in found.values():
            judged |= await self._of_app(request, told, len(told) == len(messages))
        return judged

    async def _app(self, message: Any, asked: float) -> App:
        guid = calls.app_guid(message)
        app = await self._directory.find_app_by("guid", guid, asked) if guid and "\0" not in guid else None
        if app is None:
            raise Refused("unknown_app", "no app has this GUID - at `$.kochava_app_id`")
        return app

    async def _of_app(self, request: Request, told: list[Told], whole: bool) -> dict[int, Judged]:
        app = told[0].app
        try:
            content = request.body if whole or is_open(app) else encoded([each.message for each in told])
            act = await self._gate.admit(app, request, content)
        except Refused as refused:
            return {each.place: Turned(refused, app.app_key, kept(each.message)) for each in told}
        if isinstance(act, Parked):
            return {told[0].place: act}
        now = request.received_at
        around = Circumstances(request.path, now, now, self._gate.oldest(act, now))
        return {
            each.place: self._one(app, each.message, f"{act}:{place}" if act else "", around)
            for place, each in enumerate(told)
        }

    async def judge_held(self, app: App, held: Held, received_at: int) -> list[Judged]:
        """What the quarantine releases, judged as it would have been when it came."""
        messages, _ = messages_of(held.body)
        around = Circumstances(held.path, held.received_at, received_at)
        return [
            self._one(app, message, f"{held.quarantine_id}:{place}", around) for place, message in enumerate(messages)
        ]

    def _one(self, app: App, message: Any, act: str, around: Circumstances) -> Judged:
        """One call; `act` is what its id is made of when it says by itself neither when it was nor which it is."""
        try:
            _check_path(around.path, message)
            call = calls.call_of(message, action_of(around.path, message))
            told = calls.told(call, around.came_at)
            authentication.check_age(told.occurred_at, around.oldest)
            identity = calls.stated_id(call, app.app_key) or act or None
            return arrival(app, msgspec.structs.replace(told, message_id=identity), around.received_at, self._means)
        except Refused as refused:
            return Turned(refused, app.app_key, kept(message))


def action_of(path: str, message: Any) -> Any:
    """What a message says that it is, or its path does."""
    if path == LINK_PATH:
        return "identityLink"
    return message.get("action") if isinstance(message, dict) else None


def _check_path(path: str, message: Any) -> None:
    """Raises Refused when a message says that it is something else than its path does."""
    if path == LINK_PATH and isinstance(message, dict) and message.get("action") not in (None, "", "identityLink"):
        raise Refused("unknown_action", f"{LINK_PATH} is for identity links alone - at `$.action`")


def messages_of(body: bytes) -> tuple[list[Any], bool]:
    """A body's messages, and whether it is one alone. Raises Refused when it cannot be read."""
    read = unpacked(body)
    if not isinstance(read, list):
        return [read], True
    if not read:
        raise Refused("invalid", "a list of calls has at least one - at `$`")
    if len(read) > MAX_CALLS:
        raise Refused("too_many", f"a list has at most {MAX_CALLS} calls")
    return read, False


def encoded(messages: list[Any]) -> bytes:
    """Some messages of a list as one. Raises Refused."""
    try:
        return msgspec.json.encode(messages)
    except RecursionError:
        raise Refused("too_deep", "the JSON is nested too deeply") from None


def kept(message: Any) -> bytes:
    """What of a refused message is kept: all but addresses and keys."""
    try:
        return msgspec.json.encode(authentication.without_secrets(message))
    except Refused:
        return b""


def answer(receipt: Receipt, alone: bool, action: Any) -> tuple[int, Headers, bytes]:
    """Status, headers and body for what became of a request: a failure when nothing of it was taken in."""
    rejected = [{"index": at, "reason": reason, "detail": detail} for at, reason, detail in receipt.rejected]
    counts = {"stored": receipt.stored, "duplicate": receipt.duplicate, "quarantined": receipt.parked}
    if not any(counts.values()):
        _, reason, detail = receipt.rejected[0]
        alike = {told for _, told, _ in receipt.rejected} == {reason}
        status = STATUS.get(reason, 400) if alike else 400
        headers = [(b"retry-after", b"3600")] if status == 429 else []
        return status, headers, failure(reason, detail, None if alone else rejected)
    said: dict[str, Any] = {"success": 1}
    if isinstance(action, str):
        said["action"] = action[:50]
    return 200, [], msgspec.json.encode(said | counts | ({"rejected": rejected} if rejected else {}))


def failure(reason: str, detail: str, rejected: list[dict[str, Any]] | None = None) -> bytes:
    """A refusal as Kochava's senders read it."""
    said: dict[str, Any] = {"success": 0, "error": f"{reason}: {detail}" if detail else reason, "reason": reason}
    return msgspec.json.encode(said | ({"rejected": rejected} if rejected else {}))
