"""Every page of the portal, in reading order."""

from __future__ import annotations

from collector.portal import apps, sign_in
from collector.portal.frame import Page

PAGES: list[Page] = [*sign_in.PAGES, *apps.PAGES]
