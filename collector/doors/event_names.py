"""What a partner's own systems send for an app, by the name of the event, for a partner's program: as on the page."""

from __future__ import annotations

from typing import Any

from collector.doors.read import Callers, Question
from collector.portal.event_names import listed, told
from collector.portal.frame import Portal


class EventNames:
    """GET /api/v1/apps/{app_key}/event-names"""

    def __init__(self, callers: Callers, portal: Portal) -> None:
        self._callers = callers
        self._portal = portal

    async def __call__(self, question: Question) -> Any:
        app = await self._callers.own_app(question)
        question.refuse_others()
        async with self._portal.readers.lend("log", partner_key=app.partner_key) as lent:
            return told(app, await listed(self._portal, app, lent["log"]))
