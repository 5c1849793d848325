"""What the doors share at which partners' programs read: whose token it is, how often it asks, and the answer's form.

A token of scope `read` is a partner's. What another partner has answers as if it were not there, and so does, to a
token for one app, every other app.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors.bearer import authenticated
from collector.doors.body import Headers, respond, retry_after
from collector.doors.pace import Pace, TooOften
from collector.doors.wire import refusal_json
from store.errors import Refused, Unavailable
from store.registry import App, Token

SCOPE = "read"
STATUS = {
    "invalid": 400,
    "unknown_token": 401,
    "unsuitable_token": 403,
    "unknown_app": 404,
    "unknown_partner": 404,
    "unknown_page": 404,
    "not_found": 404,
}
AT_ONCE = 2  # requests that read the store at the same time; the others wait, and leave people their readers …
WAIT_SECONDS = 5.0  # … for so long
MOST_FIELDS = 50


class Question(NamedTuple):
    """What is asked, by whom; `asked` is when, by the monotonic clock."""

    token: Token
    path: Mapping[str, str]
    query: list[tuple[str, str]]
    asked: float

    def refuse_others(self, *once: str, often: tuple[str, ...] = ()) -> None:
        """Raises Refused for a parameter that is none of these, or is there twice and may not be."""
        seen = set()
        for name, _ in self.query:
            if name not in once and name not in often:
                raise Refused("invalid", f"there is no parameter {name[:40]!r} here: {', '.join([*once, *often])}")
            if name in seen:
                raise Refused("invalid", f"{name} is there twice")
            seen.update({name} - {*often})


class Callers:
    """Who may read, and how many do."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.pace = Pace()
        self._reading = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One's turn to read the store. Raises Unavailable when it does not come."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._reading.acquire()
        except TimeoutError:
            raise Unavailable("too many read at once") from None
        try:
            yield
        finally:
            self._reading.release()

    async def own_app(self, question: Question) -> App:
        """The app in the path. Raises Refused when there is none, or none that the token may read."""
        app_key, token = question.path["app_key"], question.token
        if token.app_key in (None, app_key):
            app = await self.directory.find_app(app_key, question.asked)
            if app is not None and app.partner_key == token.partner_key:
                return app
        raise Refused("unknown_app", "there is no app with this key, or none that this token may read")


Answer = Callable[[Question], Awaitable[Any]]


class ReadDoor:
    """The ASGI application behind one route: `answer` is what is sent as JSON."""

    def __init__(self, callers: Callers, answer: Answer) -> None:
        self._callers = callers
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            question = await self._question(scope, time.monotonic())
            async with self._callers.turn():
                body = msgspec.json.encode(await self._answer(question))
        except Refused as refused:
            status = STATUS[refused.reason]
            headers: Headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await respond(send, status, [*headers, *PRIVATE], refusal_json(refused))
        except TooOften as error:
            await respond(send, 429, [retry_after(error), *PRIVATE], b'{"reason":"too_often"}')
        except Unavailable as error:
            await respond(send, 503, [retry_after(error), *PRIVATE], b'{"reason":"unavailable"}')
        else:
            await respond(send, 200, PRIVATE, body)

    async def _question(self, scope: Scope, asked: float) -> Question:
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        token = await authenticated(self._callers.directory, authorization, SCOPE, asked)
        self._callers.pace.spend(token.token_id, asked)
        return Question(token, scope["path_params"], _query(scope["query_string"]), asked)


def _query(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Refused("invalid", f"the query is no url-encoded text of at most {MOST_FIELDS} parameters") from None


PRIVATE: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
