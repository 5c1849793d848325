"""Which apps a partner's token may read: those of its partner, or the one that it is for."""

from __future__ import annotations

from typing import Any

from collector.doors.read import Callers, Question


class Apps:
    """GET /api/v1/apps"""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def __call__(self, question: Question) -> Any:
        token = question.token
        question.refuse_others()
        apps = self._callers.directory.apps_of(token.partner_key) if token.partner_key else []
        told = [
            {"app": app.app_key, "name": app.name, "pluginId": app.plugin_id, "partnerId": app.partner_id}
            for app in apps
            if token.app_key in (None, app.app_key)
        ]
        return {"apps": told}
