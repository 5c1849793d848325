"""Pages of numbers made of what strangers wrote: none of it is markup or a formula, and none another partner's."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

from numbers_visit import BOARDS, CHARTS, HOUR_MS, MINUTE_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened

from collector.portal.pages import NUMBERS
from store.event import NewRow

HOSTILE = "\"'></title></script><script>alert(1)</script><img src=x onerror=alert(1)>{{7*191}}"
FORMULA = '=HYPERLINK("http://evil.example")'
OURS, THEIRS = "a" * 40, "e" * 40
QUERIES = (
    "",
    "facet=tab",
    "facet=cta",
    "facet=utm_source",
    "campaign=utm_campaign",
    "facet=query",
    "back=install&steps=7",
    f"visitor={OURS}",
    urlencode({"f": f"tab:{HOSTILE}"}),
    urlencode(dict.fromkeys(("q", "facet", "campaign", "back", "tz", "period", "table"), HOSTILE)),
)
AFTER_THEM = ("f=utm_source:SECRET", "q=SECRET-user", "q=SECRET-partner", f"q={THEIRS}", f"visitor={THEIRS}")
FORMULA_CELL = re.compile(r'(?m)(^|[,;])"?[=+@]')


def rows() -> list[NewRow]:
    """The owner's, the stranger's, and those of the owner's listing from when it was the stranger's."""
    told = {
        "user_id": OURS,
        "partner_anonymous_id": HOSTILE[:90],
        "label": HOSTILE,
        "title": HOSTILE,
        "target": f"javascript:{HOSTILE}",
        "referrer": f"https://{quote(HOSTILE)}.example/{HOSTILE}",
        "url": f"https://marketplace.example/{HOSTILE}?utm_source={HOSTILE}",
        "query": {"utm_source": HOSTILE, "utm_campaign": FORMULA, HOSTILE: HOSTILE, "x": FORMULA},
    }
    secret = {
        "partner_key": "stranger",
        "user_id": "SECRET-user",
        "partner_anonymous_id": "SECRET-partner",
        "label": "SECRET",
        "referrer": "https://secret.example/",
        "url": "https://marketplace.example/SECRET",
        "query": {"utm_source": "SECRET", "SECRET": "SECRET"},
    }
    return [
        happened(name, who, NOW - HOUR_MS + nth * MINUTE_MS, **more)
        for nth, name in enumerate(("page_view", "tab_click", "cta_click", "install"))
        for who, more in (("a", told), ("e", secret), ("e", secret | {"app": "com.stranger.notes"}))
    ]


class Markup(HTMLParser):
    """What a page has that runs, or that came out of a text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        leads = [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]
        if (tag == "script" and "src" not in told) or "onerror" in told or told.get("src") == "x":
            self.wrong.append(f"{tag} {told}")
        self.wrong += [value for value in leads if not value.startswith(("/", "#", "?", "https:", "mailto:", "data:"))]


def test_what_strangers_wrote_is_neither_markup_nor_a_formula(house: House) -> None:
    shown = set()
    with reading(house, rows()) as reader:
        for base in (CHARTS, PARTNER):
            for address in (f"{base}/{name}{{}}?{query}" for name in NUMBERS for query in QUERIES):
                page = reader.get(address.format("")).text
                assert Markup(page).wrong == [], address
                assert "1337" not in page, address
                shown |= {name for name in ("onerror", "HYPERLINK") if name in page}
                assert not FORMULA_CELL.search(reader.get(address.format(".csv")).text), address
    assert shown == {"onerror", "HYPERLINK"}


def test_nothing_of_another_partner_is_in_any_page_or_file(house: House) -> None:
    """Nor of the time in which the listing was another partner's, whatever is asked for."""
    with reading(house, rows()) as reader:
        for base in (CHARTS, BOARDS, PARTNER):
            for query in (*QUERIES, *AFTER_THEM):
                asked = [text for text in ("SECRET", THEIRS) if text in query]
                for name in NUMBERS:
                    files = [reader.get(f"{base}/{name}.{kind}?{query}") for kind in ("csv", "json")]
                    tables = files[0].text + str(files[1].json()["tables"]) if files[1].status_code == 200 else ""
                    page = "" if asked else reader.get(f"{base}/{name}?{query}").text
                    for secret in ("SECRET", "secret.example", THEIRS):
                        assert secret not in tables + page, (base, name, query)
        assert reader.table(f"{CHARTS}/overview", "actions")[0]["events"] == 1
        assert reader.table(f"{CHARTS}/overview?f=utm_source:SECRET", "actions")[0]["visitors"] == 0
        assert reader.table(f"{CHARTS}/visitors?visitor={OURS}", "events") != []
    with reading(house, name="stranger") as reader:
        assert "SECRET" in reader.page("/apps/com.stranger.notes/sources?facet=utm_source")
        assert reader.get(f"{CHARTS}/sources").status_code == 404
