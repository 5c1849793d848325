"""The partners' advertisements on the demo's front page: links that bring a visitor to a listing from a campaign.

The surprising thing is in the link: `partner_anonymous_id` is the partner's own id for this visitor, and it is what
later joins the visitor's steps to what the partner already knows.
"""

from __future__ import annotations

from urllib.parse import urlencode

from msgspec import Struct

from collector.demo.fernhollow import BOARD_CHARTS
from collector.demo.listing import App
from collector.demo.pebblewick import TIME_POCKETS
from collector.demo.saltlight import SKETCH_TIDE


class Ad(Struct, frozen=True):
    """One advertisement; `channel` is where a visitor would have seen it."""

    app: App
    channel: str
    headline: str
    text: str
    partner_anonymous_id: str
    source: str
    medium: str
    campaign: str

    @property
    def href(self) -> str:
        """The listing with the partner's id and the campaign in its query."""
        query = {
            "hosting": "cloud",
            "tab": "overview",
            "partner_anonymous_id": self.partner_anonymous_id,
            "utm_source": self.source,
            "utm_medium": self.medium,
            "utm_campaign": self.campaign,
        }
        return f"{self.app.path}?{urlencode(query)}"


ADS: tuple[Ad, ...] = (
    Ad(
        BOARD_CHARTS,
        "Newsletter",
        "The chart you open before stand-up",
        "From Fernhollow's autumn letter to its readers",
        "fh-reader-20817-c4a1",
        "fernhollow-letter",
        "email",
        "autumn-flow",
    ),
    Ad(
        TIME_POCKETS,
        "Search advertisement",
        "Hate timesheets? Correct two lines.",
        "Shown beside search results",
        "pw-9d3e71f0-6b52",
        "findwell",
        "cpc",
        "friday-afternoon",
    ),
    Ad(
        SKETCH_TIDE,
        "Partner's own site",
        "Diagrams that stay true",
        "A button on Saltlight's documentation",
        "salt.visitor.5f20ab93",
        "saltlight-docs",
        "referral",
        "draw-in-the-page",
    ),
)
