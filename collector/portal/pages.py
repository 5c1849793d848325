"""Every page of the portal, in reading order."""

from __future__ import annotations

from collector.portal import account, apps, audit, operator, people, sign_in, tokens
from collector.portal.frame import Page

PAGES: list[Page] = [
    *sign_in.PAGES,
    *apps.PAGES,
    *account.PAGES,
    *people.PAGES,
    *tokens.PAGES,
    *operator.PAGES,
    *audit.PAGES,
]
