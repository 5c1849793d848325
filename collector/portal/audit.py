"""Who changed what, newest first: every change of the registry leaves a line, whether made here or by a command."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import OPERATORS, Page, Portal
from store import registry

A_PAGE = 50


async def show(portal: Portal, request: Request) -> Response:
    """GET /operator/audit"""
    subject, before = request.query_params.get("subject", "").strip(), request.query_params.get("before", "")
    lines = [] if "\x00" in subject + before else await registry.audited(portal.registry, subject, before, A_PAGE + 1)
    shown = lines[:A_PAGE]
    older = urlencode({"subject": subject, "before": shown[-1].audit_id}) if len(lines) > A_PAGE else ""
    return portal.page(request, "audit.html", {"lines": shown, "subject": subject, "older": older, "before": before})


PAGES = [Page("/operator/audit", show, OPERATORS)]
