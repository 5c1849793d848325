"""What machines ask: alive, ready, and the counts. Health says that the process runs; readiness, that it can store."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from collector.metrics import CONTENT_TYPE, Metric, Sample, single, text
from collector.standing import Ledger
from collector.writer import Writer
from store.database import Where


class Health:
    def __init__(self, writer: Writer, where: Where) -> None:
        self._writer = writer
        self._ledger = Ledger(where)

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        reason = await self._writer.why_not()
        if reason is not None:
            return JSONResponse({"status": "unwell", "reason": reason}, status_code=503, headers={"Retry-After": "2"})
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse(text(_of_doors(self._writer)) + await self._ledger.text(), media_type=CONTENT_TYPE)


def _of_doors(writer: Writer) -> list[Metric]:
    """Since the process began."""
    rows, size = writer.queued
    messages = [
        Sample("footfall_messages_total", {"door": door, "outcome": outcome, "reason": reason}, n)
        for (door, outcome, reason), n in sorted(writer.totals.items())
    ]
    commits = writer.commits.samples("footfall_commit_seconds")
    return [
        Metric("footfall_messages_total", "counter", "Messages at the doors, by what became of them.", messages),
        single("footfall_queue_rows", "gauge", "Events and rejections that wait to be committed.", rows),
        single("footfall_queue_bytes", "gauge", "Bytes of requests that wait to be committed.", size),
        Metric("footfall_commit_seconds", "histogram", "How long commits of the event log took.", commits),
        single("footfall_store_unwell", "gauge", "1 while the event log cannot be written.", int(bool(writer.unwell))),
    ]
