"""Journeys: the links of the rollups folded into columns, the words of steps, and the page that shows them."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from numbers_visit import CHARTS, DAY_MS, MINUTE_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened

from collector.portal.numbers.breakdowns import MANY
from collector.portal.numbers.journeys import FEWEST_STEPS, MOST_STEPS_BACK, USUAL_STEPS, takeaway
from collector.portal.numbers.paths import KEPT, Node, Paths, Strand, backward, onward
from collector.portal.numbers.steps import END, FURTHER, START, filter_of, kind, said
from collector.portal.numbers.timeline import PAUSE_MS
from collector.portal.numbers.visitors import SHOWN
from store.event import NewRow
from store.rollups.journeys import MOST_STEPS, Link
from store.rollups.reading import MOST_LINKS, Flow

JOURNEYS = f"{CHARTS}/journeys"
REVIEWS, PRICING, TRY = "tab_click:Reviews", "tab_click:Pricing", "cta_click:Try it"


def flow(place: int, from_step: str, to_step: str, n: int) -> Flow:
    return Flow(Link(place, from_step, to_step), n)


# --- folding

ON = [
    flow(0, "", "page_view", 10),
    flow(1, "page_view", REVIEWS, 5),
    flow(1, "page_view", PRICING, 2),
    flow(2, REVIEWS, TRY, 3),
    flow(3, TRY, "install", 1),
]


def test_journeys_are_followed_on_and_who_does_not_go_on_ends() -> None:
    assert onward(ON, 3) == Paths(
        [
            [Node(0, "page_view", 10, 3)],
            [Node(1, REVIEWS, 5, 2), Node(1, PRICING, 2, 2), Node(1, END, 3, None)],
            [Node(2, TRY, 3, 2), Node(2, END, 4, None)],
        ],
        [
            Strand(1, "page_view", REVIEWS, 5),
            Strand(1, "page_view", END, 3),
            Strand(1, "page_view", PRICING, 2),
            Strand(2, REVIEWS, TRY, 3),
            Strand(2, PRICING, END, 2),
            Strand(2, REVIEWS, END, 2),
        ],
        back=False,
    )


def test_where_nobody_is_followed_any_further_it_is_not_known_who_ends() -> None:
    steps = ["page_view", REVIEWS] * 4
    links = [flow(place, steps[place - 1] if place else "", step, 4) for place, step in enumerate(steps)]
    paths = onward(links, 8)
    assert [node.ended for column in paths.columns for node in column] == [0] * 7 + [None]
    assert END not in {node.step for column in paths.columns for node in column}


def test_journeys_are_followed_back_from_an_install_to_where_they_began() -> None:
    links = [
        flow(0, TRY, "install", 4),
        flow(0, "", "install", 1),
        flow(1, REVIEWS, TRY, 3),
        flow(1, "", TRY, 1),
        flow(2, "", REVIEWS, 3),
    ]
    assert backward(links, 3) == Paths(
        [
            [Node(0, "install", 5, 1)],
            [Node(1, TRY, 4, 1), Node(1, START, 1, None)],
            [Node(2, REVIEWS, 3, 3), Node(2, START, 1, None)],
        ],
        [
            Strand(1, "install", TRY, 4),
            Strand(1, "install", START, 1),
            Strand(2, TRY, REVIEWS, 3),
            Strand(2, TRY, START, 1),
        ],
        back=True,
    )


def test_the_most_travelled_steps_are_kept_apart_and_the_others_are_one() -> None:
    first = [flow(0, "", f"tab_click:{n}", 10 - n) for n in range(4)]
    then = [flow(1, f"tab_click:{n}", "page_view", 1) for n in range(4)]
    paths = onward([*first, *then], 2, kept=2)
    assert [(node.step, node.came, node.ended) for node in paths.columns[0]] == [
        ("tab_click:0", 10, 9),
        ("tab_click:1", 9, 8),
        (FURTHER, 15, 13),
    ]
    assert Strand(1, FURTHER, "page_view", 2) in paths.strands
    assert Strand(1, FURTHER, END, 13) in paths.strands


def test_one_step_alone_is_not_hidden_behind_the_word_for_others() -> None:
    paths = onward([flow(0, "", f"tab_click:{n}", 10 - n) for n in range(3)], 2, kept=2)
    assert [node.step for node in paths.columns[0]] == ["tab_click:0", "tab_click:1", "tab_click:2"]


def test_an_install_is_no_loss() -> None:
    paths = onward([flow(0, "", "page_view", 4), flow(1, "page_view", "install", 3)], 3)
    assert paths.columns[1:] == [[Node(1, "install", 3, None), Node(1, END, 1, None)]]
    assert onward([flow(0, "", "install", 2)], 2).columns == [[Node(0, "install", 2, None)]]


def test_an_install_is_shown_apart_however_rare() -> None:
    links = [flow(0, "", f"tab_click:{n}", 10 - n) for n in range(4)] + [flow(0, "", "install", 1)]
    paths = onward(links, 2, kept=2)
    assert [(node.step, node.came, node.ended) for node in paths.columns[0]] == [
        ("tab_click:0", 10, 10),
        ("tab_click:1", 9, 9),
        ("install", 1, None),
        (FURTHER, 15, 15),
    ]


walks = some.lists(some.lists(some.sampled_from("abcdefgh"), min_size=1, max_size=10), min_size=1, max_size=30)


@given(walks, some.integers(2, 8), some.integers(1, 6))
def test_whoever_comes_to_a_step_goes_on_or_ends_however_it_is_folded(
    walks: list[str], columns: int, kept: int
) -> None:
    links: Counter[Link] = Counter()
    for walk in walks:
        for place, step in enumerate(walk[:8]):
            links[Link(place, walk[place - 1] if place else "", step)] += 1
    paths = onward([Flow(link, n) for link, n in links.items()], columns, kept)
    assert paths.total == len(walks)
    leaving, arriving = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for strand in paths.strands:
        leaving[strand.column - 1, strand.near] += strand.weight
        arriving[strand.column, strand.far] += strand.weight
    nodes = {(node.column, node.step): node for column in paths.columns for node in column}
    for (column, step), node in nodes.items():
        assert column == 0 or arriving[column, step] == node.came
        assert step == END or column == len(paths.columns) - 1 or leaving[column, step] == node.came
    for column, there in enumerate(paths.columns):
        assert len([node for node in there if node.step not in (FURTHER, END)]) <= kept + 1
        assert sum(node.came for node in there if node.step != END) == sum(len(walk) > column for walk in walks)
        known = [node.ended for node in there if node.ended is not None]
        assert column == 7 or sum(known) == sum(len(walk) == column + 1 for walk in walks)


# --- words


@pytest.mark.parametrize(
    ("step", "words", "colour", "by"),
    [
        ("page_view", "Page view", "view", None),
        ("tab_click:Reviews", "Tab “Reviews”", "tab", ("tab", "Reviews")),
        ("tab_click:A: b", "Tab “A: b”", "tab", ("tab", "A: b")),
        ("cta_click:Try it", "Pressed “Try it”", "cta", ("cta", "Try it")),
        ("cta_click:", "Call to action without words", "cta", ("cta", "")),
        ("tab_click:…", "Tab: others", "tab", None),
        ("install", "Install", "install", None),
        ("strange", "strange", "other", None),
        (START, "Begins here", "start", None),
        (END, "Ends here", "end", None),
        (FURTHER, "Other steps", "other", None),
    ],
)
def test_a_step_has_words_a_colour_and_perhaps_a_filter(
    step: str, words: str, colour: str, by: tuple[str, str] | None
) -> None:
    assert (said(step), kind(step), filter_of(step)) == (words, colour, by)


def test_what_there_is_to_see_is_said_in_a_sentence() -> None:
    assert takeaway(onward(ON, 3), "journeys") == (
        "All 10 journeys begin with Page view. 30\u202f% of those end there; Tab “Reviews” is what most do next,"
        " 50\u202f%."
    )
    back = [flow(0, TRY, "install", 3), flow(0, "", "install", 1)]
    assert takeaway(backward(back, 2), "journeys") == (
        "4 installs. The last step before was most often Pressed “Try it”, 75\u202f%."
        " 25\u202f% came without a step on the listing before."
    )
    assert takeaway(onward([flow(0, "", "install", 1)], 2), "visitors") == ("The only visitor begins with Install.")
    assert takeaway(onward([], 2), "journeys") == "No journeys in this time."
    assert takeaway(backward([], 2), "journeys") == "No installs in this time."


# --- the page


def journey(visitor: str, *steps: str, **changed: str) -> list[NewRow]:
    """A visitor's events, a minute between them; steps as links have them."""
    rows = []
    for n, step in enumerate(steps):
        name, _, label = step.partition(":")
        rows.append(
            happened(name, visitor, NOW - DAY_MS + n * MINUTE_MS, **({"label": label} if label else {}), **changed)
        )
    return rows


ROWS = [
    *journey("a", "page_view", REVIEWS, TRY, "install"),
    *journey("b", "page_view", REVIEWS, REVIEWS),
    *journey("c", "page_view"),
    *journey("d", "page_view", PRICING, "install", app="com.owner.boards"),
    *journey("e", "page_view", "tab_click:Secret", app="com.stranger.notes"),
]


def steps(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(row["place"], row["step"], row["journeys"], row["ended"]) for row in rows]


def test_the_page_shows_a_picture_and_how_many_ended_where(house: House) -> None:
    with reading(house, ROWS) as reader:
        assert steps(reader.table(JOURNEYS, "steps")) == [
            (1, "Page view", 3, 1),
            (2, "Tab “Reviews”", 2, 1),
            (2, "Ends here", 1, None),
            (3, "Pressed “Try it”", 1, 0),
            (3, "Ends here", 1, None),
            (4, "Install", 1, None),
        ]
        assert [tuple(row.values()) for row in reader.table(JOURNEYS, "links")][:2] == [
            (1, "Page view", "Tab “Reviews”", 2),
            (1, "Page view", "Ends here", 1),
        ]
        page = reader.page(JOURNEYS)
        assert "All 3 journeys begin with Page view. 33 % of those end there" in reader.read(JOURNEYS)
    assert '<path class="chart-band kind-view"' in page
    assert 'class="chart-stop kind-tab"' in page


def test_it_is_followed_back_from_installs(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(f"{JOURNEYS}?back=install", "steps")
        assert "Back from installs" in reader.read(f"{JOURNEYS}?back=install")
        dated = f"{JOURNEYS}?back=install&period=custom&from=2026-05-01&to=2026-05-28"
        assert reader.table(dated, "steps") == rows
    assert steps(rows) == [
        (1, "Install", 1, 0),
        (2, "Pressed “Try it”", 1, 0),
        (3, "Tab “Reviews”", 1, 0),
        (4, "Page view", 1, 1),
    ]


def test_all_apps_of_a_partner_are_shown_together_and_no_other_partners(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(f"{PARTNER}/journeys", "steps")
        assert "Secret" not in reader.page(f"{PARTNER}/journeys")
    assert steps(rows)[:3] == [
        (1, "Page view", 4, 1),
        (2, "Tab “Reviews”", 2, 1),
        (2, "Tab “Pricing”", 1, 0),
    ]


@pytest.mark.parametrize(
    ("query", "deepest"),
    [("steps=2", 2), ("steps=8", 4), ("steps=1", 2), ("steps=99", 4), ("steps=x", 4), ("back=install&steps=3", 3)],
)
def test_as_many_steps_as_are_asked_for_are_shown(house: House, query: str, deepest: int) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(f"{JOURNEYS}?{query}", "steps")
    assert max(row["place"] for row in rows) == deepest


def test_a_steps_link_shows_only_the_visitors_who_took_it(house: House) -> None:
    with reading(house, ROWS) as reader:
        (link,) = set(re.findall(r'<a class="chart-stop kind-cta" href="([^"]+)"', reader.page(JOURNEYS)))
        rows = reader.table(html.unescape(link), "steps")
        assert "The only visitor begins with Page view." in reader.read(html.unescape(link))
    assert rows[0] == {"place": 1, "step": "Page view", "visitors": 1, "ended": 0}


def test_what_is_too_rare_to_be_read_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.rollups.reading.MOST_LINKS", 2)
    with reading(house, ROWS) as reader:
        page = reader.read(JOURNEYS)
    assert "Rarer links are left out: they were taken 2 times." in page


def test_the_references_numbers_are_the_codes() -> None:
    text = " ".join((Path(__file__).parents[1] / "docs" / "reference" / "numbers.md").read_text().split())
    assert f"({USUAL_STEPS} unless told; {FEWEST_STEPS} to {MOST_STEPS})" in text
    assert f"installs ({FEWEST_STEPS} to {MOST_STEPS_BACK})" in text
    assert f"In each column {KEPT} steps are shown apart" in text
    assert f"the {MOST_LINKS} that were taken most" in text
    assert f"the newest {SHOWN}, from the log" in text
    assert f"After {PAUSE_MS // MINUTE_MS} minutes without an event" in text
    assert f"up to {MANY} of its values" in text


def test_nothing_yet_is_said_and_not_drawn(house: House) -> None:
    with reading(house) as reader:
        page = reader.page(JOURNEYS)
    assert "No journeys in this time." in page
    assert "chart-band" not in page
