"""Makes docs/images/portal and the page that shows them: a picture of every stop of the tour, some in other ways too.

The clock of what they show stands at one noon. Each has few colours: pages need no more, and the files
are a third the size so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from conftest import launch_options
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from portal_tour import STOPS, Stop, Tour

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "images" / "portal"
DOCUMENT = DOCS / "reference" / "portal-pages.md"
HEAD = """# The portal's pages in pictures

Every page that can be opened, as `scripts/screenshots` found it; it writes this page, too. What each takes and who may
open it is in [the portal](portal.md) and [the pages of an app](app-pages.md), what is counted on pages of numbers in
[numbers](numbers.md).
"""
SAID = {"dark": "in the dark", "phone": "on a phone", "empty": "with nothing there yet"}
NOON = 1_794_830_400_000  # 2026-11-16T12:00:00Z
LONGEST = 1_440  # pixels: below it is more of the same
COLOURS = 128
WAYS: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1280, "height": 720}},
    "-dark": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "dark"},
    "-phone": {"viewport": {"width": 390, "height": 844}},
}
ALSO = {
    "-dark": ("apps", "overview", "journeys", "details", "live", "deliveries", "event"),
    "-phone": ("overview", "journeys", "clicks", "details", "live", "deliveries", "people"),
}
OF_THE_EMPTY = ("overview", "details", "live", "deliveries")


def wanted() -> dict[str, tuple[str, Stop, str]]:
    """Every picture: by its name, the state, the stop and the way of looking."""
    found = {}
    for stop in STOPS:
        if not stop.is_page:
            continue
        found[stop.name] = (stop.states[0], stop, "")
        found |= {stop.name + way: (stop.states[0], stop, way) for way, names in ALSO.items() if stop.name in names}
        if stop.name in OF_THE_EMPTY:
            found[f"{stop.name}-empty"] = ("empty", stop, "")
    return found


def documentation() -> str:
    """The page that shows them."""
    parts = [HEAD]
    for stop in STOPS:
        if stop.is_page:
            also = [way for way in SAID if f"{stop.name}-{way}" in wanted()]
            links = [f"[{SAID[way]}](../images/portal/{stop.name}-{way}.png)" for way in also]
            where = f"`{stop.page}`" + (f", {', '.join(links)}" if links else "")
            parts.append(f"## {stop.look.rstrip('.')}\n\n{where}\n\n![{stop.look}](../images/portal/{stop.name}.png)\n")
    return "\n".join(parts)


def take(tours: dict[str, Tour], browser: Browser, only: list[str]) -> None:
    contexts: dict[tuple[str, str, str], BrowserContext] = {}
    for name, (state, stop, way) in wanted().items():
        if only and name not in only:
            continue
        who = stop.who[-1]
        if (state, who, way) not in contexts:
            options = {**WAYS[way], "reduced_motion": "reduce", "timezone_id": "UTC", "locale": "en-GB"}
            contexts[state, who, way] = tours[state].enter(_maker(browser), who, **options).context
        page = contexts[state, who, way].pages[0]
        page.goto(tours[state].address(stop))
        width = WAYS[way]["viewport"]["width"]
        height = min(LONGEST, page.evaluate("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": width, "height": height}
        shot = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        (PICTURES / f"{name}.png").write_bytes(small(shot))


def _maker(browser: Browser) -> Callable[..., BrowserContext]:
    return lambda **options: browser.new_context(**options)


def small(picture: bytes) -> bytes:
    """The same with few colours: those that there is most of, as they are."""
    packed = BytesIO()
    whole = Image.open(BytesIO(picture)).convert("RGB")
    colours: Any = whole.getcolors(whole.width * whole.height)
    kept = Image.new("P", (1, 1))
    kept.putpalette([part for _, colour in sorted(colours, reverse=True)[:COLOURS] for part in colour])
    few = whole.quantize(palette=kept, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main(only: list[str]) -> None:
    home = Path(tempfile.mkdtemp())
    PICTURES.mkdir(parents=True, exist_ok=True)
    try:
        with (
            Tour(home / "full", "full", NOON) as full,
            Tour(home / "empty", "empty", NOON) as empty,
            sync_playwright() as driver,
            driver.chromium.launch(**launch_options()) as browser,
        ):
            take({"full": full, "empty": empty}, browser, only)
    finally:
        shutil.rmtree(home)
    DOCUMENT.write_text(documentation())
    for left in PICTURES.glob("*.png"):
        if left.stem not in wanted():
            left.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
