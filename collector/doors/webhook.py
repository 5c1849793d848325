"""Segment's webhook destination: what a partner's workspace has, Segment itself sends here, signed.

The surprising thing is what a signature covers: of a list, Segment signs the first element alone. So the address, which
holds the app's GUID, is to be kept like the secret, and both are exchanged over https only. That signature is all the
proof that strict authentication asks for here (collector/doors/authentication.py): Segment has no other.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors.body import ClientGone, Headers, read_body, respond, retry_after, text_of
from collector.doors.partner import Means
from collector.doors.segment_request import UNAVAILABLE, answer, judge, read_list, refusal, stored_size
from collector.doors.unzip import encoded, unzipped
from collector.doors.wire import decoded
from collector.ingest import Intake, Receipt, Turned
from store.errors import Refused, Unavailable
from store.registry import App

DOOR = "webhook"
MAX_BODY = 4 * 1024 * 1024
MAX_MESSAGES = 4_000  # the most that a workspace can choose for one request
ANSWER_SECONDS = 4.0  # Segment waits for five, and sends again
STATUS = {"unknown_app": 404, "signature": 401, "too_large": 413, "too_many": 413, "encoding": 415}


class WebhookDoor:
    """POST /webhooks/segment/{guid}"""

    def __init__(self, intake: Intake, directory: Directory, means: Means) -> None:
        self._intake = intake
        self._directory = directory
        self._means = means

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_at, asked = time.time_ns() // 1_000_000, time.monotonic()
        app: App | None = None
        try:
            self._intake.writer.check_open()
            app = await self._directory.find_app_by("guid", scope["path_params"]["guid"].lower(), asked)
            if app is None:
                raise Refused("unknown_app", "no app has this GUID: the address is on the app's Details page")
            receipt = await self._take(app, scope["headers"], receive, received_at)
        except ClientGone:
            return
        except Refused as refused:
            await self._intake.keep_refused(DOOR, received_at, Turned(refused, app.app_key if app else "", b""))
            await respond(send, STATUS.get(refused.reason, 400), [], refusal(refused))
        except Unavailable as error:
            self._intake.writer.shed(DOOR, received_at)
            await respond(send, 503, [retry_after(error)], UNAVAILABLE)
        else:
            status, body = answer(receipt)
            await respond(send, status, [], body)

    async def _take(self, app: App, named: Headers, receive: Receive, received_at: int) -> Receipt:
        """Store what a request carries. Raises Refused when it is refused as a whole."""
        headers = dict(named)
        packed = await read_body(headers, receive, MAX_BODY)
        body = unzipped(packed, MAX_BODY) if encoded(named) else packed
        check_signature(headers.get(b"x-signature", b""), body, self._means.vault.webhook_secrets(app.guid))
        judged = judge(read_list(body, MAX_MESSAGES), "", DOOR, app, received_at, self._means)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._intake.ingest(DOOR, received_at, judged, stored_size(judged, body))
        except TimeoutError:
            raise Unavailable("the event log does not answer in the time that Segment waits") from None


def check_signature(signature: bytes, body: bytes, secrets: list[str]) -> None:
    """Raises Refused unless one of the secrets signed the body, or the first element of its list."""
    signed = first_of(body)
    stated = signature.strip().lower()
    good = [hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest().encode() for secret in secrets]
    if sum(hmac.compare_digest(stated, each) for each in good) == 0:
        raise Refused("signature", "X-Signature is not what the shared secret on the app's Details page makes")


def first_of(body: bytes) -> bytes:
    """What Segment signs of a body. Raises Refused for a list that cannot be read."""
    if not body.lstrip().startswith(b"["):
        return body
    text_of(body)
    messages = decoded(_decode_list, body)
    return bytes(messages[0]) if messages else b""


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
