"""One webhook's request: signed, to checked addresses alone, and answered within a time for the whole of it.

The address is the partner's text, so it leaves through wire/adapters.py as a destination's does; redirects are not
followed. An answer counts by its status alone, and an excerpt of it is kept, with every secret taken out.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Literal

import msgspec
import requests

from store.endpoint import Allowed
from wire import macros, signature
from wire.adapters import Deadline, Forbidden, Guarded, never_connected
from wire.hook import Hook
from wire.verdict import EXCERPT, Reply, retry_after

SECONDS = 10.0  # for all of it: the name, the connection, the answer to its end
LATE = "ReadTimeout"
AGENT = "Footfall-Webhooks/1"


class Verdict(msgspec.Struct, frozen=True):
    """`gone`: the receiver says that it wants nothing any more."""

    kind: Literal["accepted", "deferred", "ambiguous", "gone"]
    detail: str


def send(hook: Hook, values: macros.Values, permitted: Allowed, seconds: float = SECONDS) -> Reply:
    """Send it once and say what came back; never raises for what the network does. Raises ValueError when the body is
    too large."""
    url, body = hook.request(values)
    message_id = str(values["message.id"])
    headers = {
        "Content-Type": macros.CONTENT_TYPES[hook.form],
        "User-Agent": AGENT,
        **signature.headers(message_id, int(time.time()), body, hook.secrets),
    }
    deadline = Deadline(seconds)
    try:
        request = requests.Request("POST", url, headers=headers, data=body).prepare()
        with deadline, closing(Guarded(permitted, connected=deadline.watch)) as way:
            response = way.send(request, timeout=(seconds, seconds))
    except Forbidden as refusal:
        return Reply(forbidden=str(refusal), sent=False)
    except Exception as error:  # whatever requests makes of a strange answer, the other webhooks go on
        late = deadline.over
        return Reply(error=LATE if late else type(error).__name__, sent=late or not never_connected(error))
    if deadline.over:  # what looks like its end is where it was cut
        return Reply(error=LATE)
    said = response.content.decode(errors="replace").replace("\0", "\ufffd")
    for secret in hook.secrets:
        said = said.replace(secret, "[secret]")
    return Reply(response.status_code, said.strip(), retry_after(response.headers.get("Retry-After", ""), time.time()))


def judge(reply: Reply) -> Verdict:
    """What an answer means: a 2xx is taken, 410 wants no more, all else is tried again. Pure."""
    if reply.forbidden:
        return Verdict("deferred", f"its address is refused: {reply.forbidden}")
    if reply.status is None:
        return Verdict("ambiguous" if reply.sent else "deferred", reply.error)
    if 200 <= reply.status < 300:
        return Verdict("accepted", reply.body[:EXCERPT])
    if 300 <= reply.status < 400:
        return Verdict("deferred", "it redirects, which is not followed")
    return Verdict("gone" if reply.status == 410 else "deferred", reply.body[:EXCERPT])
