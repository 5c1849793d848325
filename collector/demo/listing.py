"""What the demo marketplace knows of one listing: the app, its partner and everything its seven tabs show.

The surprising thing: `region`, `profile`, `has_segment_key` and `gets_history` are not sales facts. They say
how the demo connects the app to the fake Segment, so that the live page and the portal have something of every kind.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

PricingKind = Literal["free", "paid", "request"]
Hosting = Literal["cloud", "server"]

TABS = {
    "overview": "Overview",
    "reviews": "Reviews",
    "pricing": "Pricing",
    "privacy-and-security": "Privacy & Security",
    "support": "Support",
    "versions": "Versions",
    "installation": "Installation",
}


class Partner(Struct, frozen=True):
    """A company with apps in the marketplace."""

    key: str
    partner_id: str
    name: str
    about: str
    home: str
    site: str


class Highlight(Struct, frozen=True):
    """One selling point on the overview tab."""

    title: str
    text: str


class Scene(Struct, frozen=True):
    """A drawn screenshot: `kind` names a drawing in `templates/demo/_scenes.html`."""

    kind: Literal["bars", "timeline", "calendar", "page", "board", "form"]
    caption: str


class Review(Struct, frozen=True):
    """What one customer wrote, with the partner's answer if there is one."""

    author: str
    organisation: str
    stars: int
    when: str
    title: str
    text: str
    reply: str = ""


class Plan(Struct, frozen=True):
    """One row of the price list."""

    name: str
    price: str
    unit: str
    points: tuple[str, ...]


class Version(Struct, frozen=True):
    """One release, newest first in a listing."""

    number: str
    released: str
    summary: str
    notes: tuple[str, ...]


class Fact(Struct, frozen=True):
    """A labelled answer on the privacy and support tabs."""

    label: str
    value: str


class App(Struct, frozen=True):
    """One listed app. `stars` counts the reviews from five stars down to one."""

    key: str
    plugin_id: str
    name: str
    slug: str
    partner: Partner
    tagline: str
    description: tuple[str, ...]
    category: str
    pricing: PricingKind
    hosting: tuple[Hosting, ...]
    glyph: str
    hue: str
    teams: str
    stars: tuple[int, int, int, int, int]
    highlights: tuple[Highlight, ...]
    scenes: tuple[Scene, ...]
    reviews: tuple[Review, ...]
    plans: tuple[Plan, ...]
    versions: tuple[Version, ...]
    security: tuple[Fact, ...]
    support: tuple[Fact, ...]
    steps: tuple[str, ...]
    region: Literal["us", "eu"] = "us"
    profile: Literal["mpac", "segment"] = "mpac"
    has_segment_key: bool = True
    gets_history: bool = False

    @property
    def path(self) -> str:
        """The listing's path, as people share it."""
        return f"/demo/apps/{self.plugin_id}/{self.slug}"

    @property
    def review_count(self) -> int:
        """How many people left stars."""
        return sum(self.stars)

    @property
    def rating(self) -> str:
        """The mean of the stars with one decimal: `4.6`."""
        points = sum(count * value for count, value in zip(self.stars, range(5, 0, -1), strict=True))
        return f"{points / self.review_count:.1f}"


def calls_to_action(app: App) -> list[tuple[str, str]]:
    """The listing's buttons, the main one first: what each says and where it leads."""
    get = f"{app.path}/get"
    if app.pricing == "free":
        return [("Get it now", get)]
    if app.pricing == "paid":
        return [("Try it free", get), ("Buy it now", f"{get}?buy=now")]
    return [("Request this app", get)]
