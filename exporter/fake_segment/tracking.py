"""Segment's side of the fake: the tracking API, and the settings that the browser SDK fetches first.

One function takes every call, because Segment's paths differ in little more than their names. Which host was meant
shows in the path: under `/eu` it is the Dublin one.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from exporter.fake_segment import intake, record, replies
from exporter.fake_segment.clock import iso
from exporter.fake_segment.fake import FakeSegment
from exporter.fake_segment.faults import Fault, Faults


async def call(request: Request) -> Response:
    """Answer one call of the tracking API, as scripted or as Segment would."""
    kind = intake.CALLS.get(request.path_params["call"])
    if kind is None:
        return PlainTextResponse("404 page not found\n", status_code=404)
    if kind == "metrics":
        return replies.accepted()
    if early := early_reset(request):
        return await reset(request, early)
    body = await request.body()
    try:
        post = intake.read(
            kind, body, encoding=header(request, "Content-Encoding"), authorization=authorization(request)
        )
    except intake.BadRequest as refusal:
        return await refuse(request, len(body), str(refusal))
    fake: FakeSegment = request.app.state.fake
    fault = fake.faults.take(path(request), post.write_key, post.message_ids())
    landed = fake.take_in(post, region(request)) if fault is None or fault.lands else 0
    note(request, fault, 200, size=len(body), landed=landed, post=post)
    return await replies.play(request, fault, replies.accepted()) if fault else replies.accepted()


def early_reset(request: Request) -> Fault | None:
    """Take the reset that is due while the body is still coming in, going by the head of the request alone."""
    faults: Faults = request.app.state.fake.faults
    about = (path(request), intake.header_key(authorization(request)), None)
    fault = faults.find(*about)
    if fault is None or fault.reset is None or fault.land or fault.match.message_id:
        return None
    return faults.take(*about)


async def reset(request: Request, fault: Fault) -> Response:
    """Read as many bytes of the body as the fault says, then cut the connection. Nothing lands."""
    came = 0
    async for chunk in request.stream():
        came += len(chunk)
        if came >= (fault.reset or 0):
            break
    note(request, fault, 200, size=came)
    return await replies.play(request, fault, replies.accepted())


async def refuse(request: Request, size: int, reason: str) -> Response:
    """Answer a body that cannot be taken. A fault comes first here too: a server that is down reads no bodies."""
    fault = request.app.state.fake.faults.take(path(request), intake.header_key(authorization(request)), [])
    note(request, fault, 400, size=size, refused=reason)
    return await replies.play(request, fault, replies.bad_request()) if fault else replies.bad_request()


def note(
    request: Request,
    fault: Fault | None,
    true_status: int,
    *,
    size: int,
    landed: int = 0,
    refused: str | None = None,
    post: intake.Post | None = None,
) -> None:
    """Write one request down, before its reply is sent, so that one that hangs shows as well."""
    fake: FakeSegment = request.app.state.fake
    fake.record.add_request(
        record.Request(
            path=request.url.path,
            status=fault.status_instead_of(true_status) if fault else true_status,
            write_key=post.write_key if post else intake.header_key(authorization(request)),
            bytes=size,
            items=len(post.items) if post else 0,
            landed=landed,
            refused=refused,
            fault=fault is not None,
            retry_count=retry_count(request),
            sent_at=post.sent_at if post else None,
            received_at=iso(fake.clock.now()),
            message_ids=post.message_ids() if post else [],
        )
    )


async def settings(request: Request) -> Response:
    """Answer as cdn.segment.com does; the host named in it is this fake, in the region of the key."""
    fake: FakeSegment = request.app.state.fake
    write_key = request.path_params["write_key"]
    if len(write_key) <= intake.MAX_KEY_REFUSED or not fake.sources.is_known(write_key):
        return PlainTextResponse("Invalid path or write key provided.", status_code=404)
    prefix = "/eu/v1" if fake.sources.region(write_key) == "eu" else "/v1"
    host = {"apiKey": write_key, "apiHost": request.url.netloc + prefix, "protocol": request.url.scheme}
    return JSONResponse({"integrations": {"Segment.io": host}, "plan": {"track": {"__default": {"enabled": True}}}})


def header(request: Request, name: str) -> str:
    return str(request.headers.get(name, ""))


def authorization(request: Request) -> str:
    return header(request, "Authorization")


def retry_count(request: Request) -> int:
    value = header(request, "X-Retry-Count")
    return int(value) if value.isdecimal() else 0


def path(request: Request) -> str:
    return request.url.path.rstrip("/")


def region(request: Request) -> str:
    return "eu" if request.url.path.startswith("/eu/") else "us"
