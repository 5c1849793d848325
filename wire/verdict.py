"""What an answer means, and how long to wait before the next attempt. Pure.

Segment answers 200 to nearly everything, so success is narrow: a 2xx that no redirect led to, with a JSON object that
says so. Which statuses are worth another attempt follows Segment's own clients (docs/reference/delivery.md).
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

Kind = Literal["accepted", "content", "transient", "ambiguous", "destination"]

ATTEMPTS_IN_A_RUN = 5
BASE_SECONDS = 0.5
MOST_SECONDS = 60.0
WAIT_IN_A_RUN_SECONDS = 30.0  # what a destination asks for beyond that is left to a later run
RETRY_AFTER_SECONDS = 86_400.0  # an absurd header does not silence a destination for longer
EXCERPT = 200


class Reply(msgspec.Struct, frozen=True):
    """What came back. `status` is None when nothing did; then `error` says why and `sent` whether bytes had left.

    `forbidden` says why no connection was made at all. `elsewhere`: the answer is not of Segment, but of something that
    takes the same requests.
    """

    status: int | None = None
    body: str = ""
    retry_after: float | None = None
    error: str = ""
    sent: bool = True
    forbidden: str = ""
    elsewhere: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """`content`: something in the batch is refused. `destination`: the destination as a whole is at fault."""

    kind: Kind
    detail: str


def judge(reply: Reply) -> Verdict:
    """The verdict on one reply."""
    if reply.forbidden:
        return Verdict("destination", f"its address is refused: {reply.forbidden}")
    if reply.status is not None and 300 <= reply.status < 400:
        where = "the destination's URL" if reply.elsewhere else "FOOTFALL_SEGMENT_URL_US and _EU"
        return Verdict("destination", f"the endpoint redirects: check {where}")
    if reply.status is None:
        return Verdict("ambiguous" if reply.sent else "transient", reply.error)
    if 200 <= reply.status < 300:
        return Verdict("accepted", "") if _says_success(reply) else Verdict("transient", "unknown reply")
    if reply.status in (400, 413, 422):
        return Verdict("content", reply.body[:EXCERPT])
    if reply.status in (408, 410, 429, 460) or (reply.status >= 500 and reply.status not in (501, 505)):
        return Verdict("transient", reply.body[:EXCERPT])
    return Verdict("destination", f"the endpoint answers {reply.status}")


def _says_success(reply: Reply) -> bool:
    """Segment says `success`; Jitsu says `ok`, for the whole batch; RudderStack's answer is the two letters OK."""
    if reply.elsewhere and reply.body in ("OK", '"OK"'):
        return True
    try:
        answer = msgspec.json.decode(reply.body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(answer, dict):
        return False
    return answer.get("success") is True or (reply.elsewhere and answer.get("ok") is True)


def retry_after(header: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or as an HTTP date; `now` is epoch seconds.

    None without a header that can be read and asks for anything.
    """
    try:
        seconds = int(header) if header.isdigit() else _moment(header) - now
    except (ValueError, OverflowError):
        return None
    return min(seconds, RETRY_AFTER_SECONDS) if seconds > 0 else None


def _moment(date: str) -> float:
    """Epoch seconds; a date whose zone is told as unknown, -0000, is one of UTC wherever this machine is."""
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def wait(attempt: int, retry_after: float | None, jitter: float) -> float | None:
    """Seconds before the next attempt after the `attempt`th failed; None when it is left to a later run.

    `jitter` is in [0, 1).
    """
    if attempt >= ATTEMPTS_IN_A_RUN:
        return None
    if retry_after is not None:
        return retry_after if retry_after <= WAIT_IN_A_RUN_SECONDS else None
    return min(BASE_SECONDS * 2.0 ** (attempt - 1), MOST_SECONDS) * (1 + jitter / 10)
