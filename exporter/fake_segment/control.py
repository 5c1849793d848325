"""The other side of the fake, under `/_/`: what landed and what did not, faults, keys, the clock, a fresh start.

Bodies are decoded into the structs they become, and unknown fields are errors: a misspelt fault must not pass for a
working Segment.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from exporter.fake_segment.clock import instant, iso
from exporter.fake_segment.fake import FakeSegment, Mode
from exporter.fake_segment.faults import Count, Fault
from exporter.fake_segment.sources import Source
from exporter.fake_segment.wire import Server

T = TypeVar("T")

# A span that leaves the clock inside the years that it can spell.
Seconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the clock: stop it at `now`, then go on by `advance` seconds."""

    now: str | None = None
    advance: Seconds = 0


def the_fake(request: Request) -> FakeSegment:
    fake: FakeSegment = request.app.state.fake
    return fake


def answer(value: object, *, status: int = 200, background: BackgroundTask | None = None) -> Response:
    body = msgspec.json.encode(value)
    return Response(body, status_code=status, media_type="application/json", background=background)


async def read(request: Request, shape: type[T]) -> T:
    return msgspec.json.decode(await request.body() or b"{}", type=shape)


async def misread(_: Request, error: Exception) -> Response:
    return answer({"error": str(error)}, status=400)


def number(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    return None if value is None else msgspec.convert(value, Count, strict=False)


async def received(request: Request) -> Response:
    since, limit = number(request, "since"), number(request, "limit")
    messages, following = the_fake(request).record.page(request.query_params.get("writeKey"), since or 0, limit)
    reply = answer(messages)
    reply.headers["X-Next"] = str(following)
    return reply


async def dropped(request: Request) -> Response:
    key = request.query_params.get("writeKey")
    return answer([drop for drop in the_fake(request).record.dropped if key in (None, drop.write_key)])


async def requests(request: Request) -> Response:
    key = request.query_params.get("writeKey")
    return answer([each for each in the_fake(request).record.requests if key in (None, each.write_key)])


async def counts(request: Request) -> Response:
    return answer(the_fake(request).record.counts())


async def add_fault(request: Request) -> Response:
    fault = await read(request, Fault)
    if fault.refuse is None:
        the_fake(request).faults.add(fault)
        return answer(pending(request))
    server: Server | None = request.app.state.server
    if server is None:
        raise msgspec.ValidationError("refuse needs the fake on a real socket, as footfall fake-segment runs it")
    return answer(pending(request), background=BackgroundTask(server.reopen, server.shut(), fault.refuse))


async def faults(request: Request) -> Response:
    if request.method == "DELETE":
        the_fake(request).faults.pending.clear()
    return answer(pending(request))


def pending(request: Request) -> list[dict[str, Any]]:
    return [
        {"fault": fault, "left": "always" if left is None else left} for fault, left in the_fake(request).faults.pending
    ]


async def add_key(request: Request) -> Response:
    source = await read(request, Source)
    the_fake(request).register(source)
    return answer(source)


async def change_mode(request: Request) -> Response:
    fake = the_fake(request)
    fake.set_mode(msgspec.convert(msgspec.to_builtins(fake.mode) | await read(request, dict[str, Any]), Mode))
    return answer(fake.mode)


async def move_clock(request: Request) -> Response:
    move, clock = await read(request, Move), the_fake(request).clock
    if move.now is not None:
        at = instant(move.now)
        if at is None:
            raise msgspec.ValidationError("now is not an ISO 8601 instant")
        clock.stop(at)
    clock.advance(move.advance)
    return answer({"now": iso(clock.now()), "stopped": clock.stopped_at is not None})


async def reset(request: Request) -> Response:
    request.app.state.fake = FakeSegment()
    return answer({})
