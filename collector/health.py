"""What machines ask: alive, ready, and the counts. Health says that the process runs; readiness, that it can store."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from collector.writer import Writer


class Health:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        if self._writer.unwell is not None:
            return JSONResponse(
                {"status": "unwell", "reason": self._writer.unwell}, status_code=503, headers={"Retry-After": "2"}
            )
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        rows, size = self._writer.queued
        lines = [
            "# HELP footfall_messages_total Messages at the doors since this process began, by what became of them.",
            "# TYPE footfall_messages_total counter",
            *(
                f'footfall_messages_total{{door="{door}",outcome="{outcome}",reason="{reason}"}} {n}'
                for (door, outcome, reason), n in sorted(self._writer.totals.items())
            ),
            "# HELP footfall_queue_rows Events and rejections that wait to be committed.",
            "# TYPE footfall_queue_rows gauge",
            f"footfall_queue_rows {rows}",
            "# HELP footfall_queue_bytes Bytes of requests that wait to be committed.",
            "# TYPE footfall_queue_bytes gauge",
            f"footfall_queue_bytes {size}",
            "# HELP footfall_store_unwell 1 while the event log cannot be written.",
            "# TYPE footfall_store_unwell gauge",
            f"footfall_store_unwell {int(self._writer.unwell is not None)}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")
