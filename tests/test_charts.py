"""Pictures of numbers: what is drawn stays inside, is as large as its number, and says what it shows."""

import re
from itertools import pairwise
from types import ModuleType

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.assets import TEMPLATES
from collector.portal import frame
from collector.portal.charts import axis, breakdown, funnel, histogram, layout, lettering, sankey, sparkline
from collector.portal.charts.flows import Flow, Stop, fold, weights
from collector.portal.charts.series import FEW, Point, Series, time_series

pytestmark = pytest.mark.only("sqlite", "pictures know no store")

COUNTS = st.integers(0, 10**9)
THIN = "\u202f"


def points(values: list[int], before: list[int] | None = None) -> list[Point]:
    return [
        Point(f"{nth + 1} Nov", f"2026-11-{nth + 1:02}", value, before[nth] if before else None)
        for nth, value in enumerate(values)
    ]


def visitors(values: list[int], before: list[int] | None = None, **totals: int) -> Series:
    return Series("Visitors", "visitors", points(values, before), **totals)


def spots(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


# --- axes


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (309, [0, 100, 200, 300, 400]),
        (100, [0, 50, 100]),
        (27_434, [0, 10_000, 20_000, 30_000]),
    ],
)
def test_ticks_are_round_numbers_from_zero(most: int, ticks: list[int]) -> None:
    assert axis.ticks(most) == ticks


@given(most=COUNTS)
def test_ticks_reach_the_greatest_value_in_few_even_steps(most: int) -> None:
    found = axis.ticks(most)
    steps = {after - before for before, after in pairwise(found)}
    assert found[0] == 0
    assert found[-1] >= most
    assert len(steps) == 1
    assert re.fullmatch("[125]0*", str(steps.pop()))
    assert len(found) <= 5


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (999, "999"), (1_500, "1.5k"), (12_000, "12k"), (250_000, "250k"), (2_500_000, "2.5M"), (10**9, "1G")],
)
def test_numbers_of_an_axis_are_short(n: int, text: str) -> None:
    assert axis.short(n) == text


@given(count=st.integers(0, 400))
def test_labels_are_few_even_and_fewer_where_it_is_narrow(count: int) -> None:
    places = [axis.place(nth, max(1, count - 1)) for nth in range(count)]
    found = axis.labels([str(nth) for nth in range(count)], places)
    assert len(found) <= 8
    assert len([label for label in found if not label.spare]) <= 4
    assert len({after.index - before.index for before, after in pairwise(found)}) <= 1
    assert (not found) == (count == 0)


# --- counts over time


@given(
    values=st.lists(COUNTS, max_size=60),
    before=st.lists(st.none() | COUNTS, min_size=60, max_size=60),
    copies=st.integers(1, 4),
    partial=st.booleans(),
)
def test_counts_over_time_stay_inside_and_are_as_high_as_they_say(
    values: list[int], before: list[int | None], copies: int, partial: bool
) -> None:
    made = [Point(str(n), "", value, before[n]) for n, value in enumerate(values)]
    chart = time_series("Title", [Series(str(n), "view", made) for n in range(copies)], partial=partial)
    top = chart.ticks[-1].value
    assert len(chart.rows) == len(values)
    for drawn in chart.drawn:
        everything = spots(drawn.line) + spots(drawn.area) + spots(drawn.tail) + spots(drawn.before) + spots(drawn.dot)
        assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in everything)
        for bar, value in zip(drawn.bars, values, strict=chart.has_bars):
            assert bar.x >= 0
            assert bar.right <= 100.01
            assert bar.y + bar.height == pytest.approx(100)
            assert bar.height == pytest.approx(100 * value / top, abs=0.01)
        if not chart.has_bars:
            line = spots(drawn.line) + (spots(drawn.tail)[-1:] if partial else [])
            assert [y for _, y in line] == pytest.approx([1000 - 1000 * value / top for value in values], abs=0.2)
            assert [x for x, _ in line] == sorted(x for x, _ in line)


def test_few_bins_are_bars_and_many_are_lines() -> None:
    assert time_series("", [visitors([1] * FEW)]).has_bars
    assert not time_series("", [visitors([1] * (FEW + 1))]).has_bars
    assert len(time_series("", [visitors(list(range(400)))]).rows) == 400


def test_bars_of_several_counts_stand_beside_each_other() -> None:
    chart = time_series("", [visitors([1, 2, 3]), visitors([3, 2, 1])])
    edges = sorted((bar.x, bar.right) for drawn in chart.drawn for bar in drawn.bars)
    assert all(before[1] <= after[0] + 0.01 for before, after in pairwise(edges))


def test_a_bin_that_is_not_over_is_apart() -> None:
    (drawn,) = time_series("", [visitors([4] * 9 + [1])], partial=True).drawn
    assert (len(spots(drawn.line)), len(spots(drawn.tail))) == (9, 2)
    assert spots(drawn.tail)[0] == spots(drawn.line)[-1]
    (few,) = time_series("", [visitors([4, 1])], partial=True).drawn
    assert [bar.partial for bar in few.bars] == [False, True]


def test_what_has_no_time_before_leaves_a_gap() -> None:
    made = [Point("", "", 1, None if nth in (3, 4) else 1) for nth in range(10)]
    assert time_series("", [Series("", "view", made)]).drawn[0].before.count("M") == 2


@pytest.mark.parametrize(
    ("series", "text"),
    [
        ([], "There is nothing to show for this time."),
        ([visitors([])], "There is nothing to show for this time."),
        ([visitors([0, 0])], "No visitors in this time."),
        ([visitors([3, 9])], "Visitors: 2 Nov had the most, 9."),
        ([visitors([3, 9], total=11)], "11 visitors; 2 Nov had the most, 9."),
        ([visitors([9], total=9, total_before=0)], "9 visitors, up from none in last week."),
        ([visitors([9], total=9, total_before=9)], "9 visitors, as many as in last week."),
        ([visitors([5000], total=5000, total_before=4000)], f"5{THIN}000 visitors, 25{THIN}% more than in last week."),
        ([visitors([3], total=3, total_before=4)], f"3 visitors, 25{THIN}% fewer than in last week."),
    ],
)
def test_counts_over_time_are_told_in_a_sentence(series: list[Series], text: str) -> None:
    assert time_series("Visitors", series, before="last week").takeaway == text


# --- funnels and breakdowns


def test_a_step_has_two_rates_and_may_be_larger_than_the_one_before() -> None:
    steps = [funnel.Step("Seen", "view", 1000), funnel.Step("Asked", "request", 40), funnel.Step("Got", "install", 50)]
    chart = funnel.funnel("", steps)
    assert [(step.of_first, step.from_before) for step in chart.steps] == [
        (f"100{THIN}%", ""),
        (f"4{THIN}%", f"4{THIN}%"),
        (f"5{THIN}%", f"125{THIN}%"),
    ]
    assert chart.takeaway == (
        f"5{THIN}% came as far as “Got”: 50 of 1{THIN}000 visitors; the most, 960, are lost before “Asked”."
    )


def test_a_step_that_knows_who_did_both_says_which_step_its_rate_is_of() -> None:
    steps = [
        funnel.Step("Seen", "view", 1000),
        funnel.Step("Asked", "request", 0, "Seen", 1000, 0),
        funnel.Step("Got", "install", 50, "Seen", 1000, 40),
    ]
    assert [(step.of_first, step.from_before, step.after) for step in funnel.funnel("", steps).steps] == [
        (f"100{THIN}%", "", ""),
        (f"0{THIN}%", f"0{THIN}%", "Seen"),
        (f"5{THIN}%", f"4{THIN}%", "Seen"),
    ]


@given(counts=st.lists(COUNTS, max_size=8))
def test_the_bars_of_a_funnel_are_as_wide_as_their_counts(counts: list[int]) -> None:
    chart = funnel.funnel("", [funnel.Step("", "view", count) for count in counts])
    assert [step.width for step in chart.steps] == pytest.approx(
        [100 * n / max(*counts, 1, 1) for n in counts], abs=0.01
    )
    assert all(after.y - before.y >= funnel.FIRST for before, after in pairwise(chart.steps))
    assert all(step.y + funnel.FIRST <= chart.height for step in chart.steps)


def test_shares_are_of_all_visitors_and_bars_of_the_largest_row() -> None:
    rows = [breakdown.Row("google", 20, 60), breakdown.Row("direct", 5, 6), breakdown.Row("mail", 0, 0)]
    chart = breakdown.breakdown("", "Source", rows, 200)
    assert [row.share for row in chart.rows] == [f"10{THIN}%", f"2{THIN}%", f"0{THIN}%"]
    assert [row.width for row in chart.rows] == [100, 25, 0]
    assert chart.takeaway == f"google has the most: 10{THIN}% of 200 visitors."


# --- time taken, and a line as high as a word


@given(counts=st.lists(COUNTS, max_size=12))
def test_the_bars_of_a_histogram_are_as_high_as_their_counts_and_apart(counts: list[int]) -> None:
    chart = histogram.histogram("", [histogram.Bucket("1 to 5 min", n) for n in counts])
    top = chart.ticks[-1].value
    assert [bucket.height for bucket in chart.buckets] == pytest.approx([100 * n / top for n in counts], abs=0.01)
    assert all(before.x + before.width <= after.x for before, after in pairwise(chart.buckets))
    assert all(bucket.x >= 0 and bucket.x + bucket.width <= 100 for bucket in chart.buckets)


def test_a_histogram_says_when_half_are_through() -> None:
    buckets = [histogram.Bucket("under 1 min", 2), histogram.Bucket("1 to 5 min", 4), histogram.Bucket("longer", 4)]
    chart = histogram.histogram("", buckets, "Installs")
    assert chart.takeaway == f"Half of the 10 installs are in “1 to 5 min” or before it: 60{THIN}%."
    assert chart.buckets[0].lines == ("under 1", "min")


@given(values=st.lists(COUNTS, max_size=60))
def test_a_sparkline_stays_inside(values: list[int]) -> None:
    spark = sparkline.sparkline(values)
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in spots(spark.area))
    assert len(spots(spark.line)) == len(values)


# --- ways


def flow(position: int, source: str, target: str, weight: int) -> Flow:
    return Flow(position, Stop(source), Stop(target), weight)


FLOWS = st.lists(
    st.builds(flow, st.integers(0, 3), st.sampled_from("abcdefghijkl"), st.sampled_from("abcdefghijkl"), COUNTS),
    max_size=30,
)


@given(flows=FLOWS, most=st.integers(1, 8))
def test_folding_keeps_what_flows_and_leaves_few_stops(flows: list[Flow], most: int) -> None:
    folded = fold(flows, most)
    assert sum(one.weight for one in folded) == sum(one.weight for one in flows)
    columns = layout.columns(weights(folded))
    assert all(len(column) <= most + 1 for column in columns)
    assert [column[0][0] for column in columns] == list(range(len(columns)))


def test_the_smallest_stops_are_folded_and_one_alone_is_not() -> None:
    flows = [flow(0, "a", name, weight) for name, weight in zip("pqrs", (9, 8, 2, 1), strict=True)]
    assert [one.target.name for one in fold(flows, 2)] == ["p", "q", "2 others"]
    assert [one.target.name for one in fold(flows, 3)] == ["p", "q", "r", "s"]


@given(flows=FLOWS, most=st.integers(1, 8), backwards=st.booleans())
def test_ways_stay_inside_flow_on_and_lie_apart(flows: list[Flow], most: int, backwards: bool) -> None:
    chart = sankey.sankey("", flows, most, backwards)
    folded = fold(flows, most)
    places = {(node.x, node.name, node.kind): node for node in chart.nodes}
    assert len(places) == len(chart.nodes)
    columns: dict[float, list[sankey.Node]] = {}
    for node in chart.nodes:
        assert node.y >= sankey.HEAD - 0.1
        assert node.y + node.height <= chart.height + 0.1
        assert 0 <= node.x <= 100 - 100 / chart.columns + 0.01
        columns.setdefault(node.x, []).append(node)
    for column in columns.values():
        column.sort(key=lambda node: node.middle)
        for upper, lower in pairwise(column):
            assert lower.middle - upper.middle >= layout.SLOT - 0.1
            assert upper.y + upper.height <= lower.y + 0.1
    scale = sum(band.thickness for band in chart.bands) / max(1, sum(one.weight for one in folded))
    for band, one in zip(chart.bands, folded, strict=True):
        assert band.thickness == pytest.approx(one.weight * scale, rel=0.01, abs=0.02 * len(folded))
        for edge in (band.left, band.right):
            assert edge >= sankey.HEAD - 0.1
            assert edge + band.thickness <= chart.height + 0.1


@given(flows=FLOWS)
def test_bands_of_a_stop_lie_below_each_other_within_it(flows: list[Flow]) -> None:
    chart = sankey.sankey("", flows)
    nodes = {(node.x, node.name): node for node in chart.nodes}
    leaving: dict[tuple[float, str], list[sankey.Band]] = {}
    for band, one in zip(chart.bands, fold(flows), strict=True):
        leaving.setdefault((round(100 * one.position / chart.columns, 3), one.source.name), []).append(band)
    for key, bands in leaving.items():
        bands.sort(key=lambda band: (band.left, band.thickness))
        assert bands[0].left >= nodes[key].y - 0.1
        assert bands[-1].left + bands[-1].thickness <= nodes[key].y + nodes[key].height + 0.1
        assert all(upper.left + upper.thickness <= lower.left + 0.1 for upper, lower in pairwise(bands))


@given(flows=FLOWS)
def test_ordering_crosses_no_more_than_before(flows: list[Flow]) -> None:
    folded = fold(flows)
    columns = layout.columns(weights(folded))
    ordered = layout.ordered(columns, folded)
    assert layout.crossings(ordered, folded) <= layout.crossings(columns, folded)
    assert [sorted(column, key=str) for column in ordered] == [sorted(column, key=str) for column in columns]


def test_ways_that_need_not_cross_do_not() -> None:
    flows = [
        flow(0, "a", "z", 9),
        flow(0, "b", "y", 8),
        flow(0, "c", "x", 7),
        flow(1, "z", "k", 1),
        flow(1, "x", "l", 9),
    ]
    folded = fold(flows)
    assert layout.crossings(layout.ordered(layout.columns(weights(folded)), folded), folded) == 0


def test_backwards_the_end_stands_at_the_right_and_time_runs_on() -> None:
    chart = sankey.sankey("", [flow(0, "Install", "Pricing", 7)], backwards=True, headings=["Installed"])
    assert [(node.name, node.x) for node in chart.nodes] == [("Install", 50), ("Pricing", 0)]
    assert [(heading.text, heading.x) for heading in chart.headings] == [("Installed", 50), ("1 before", 0)]
    assert chart.bands[0].title == "Pricing → Install: 7 visitors"
    assert chart.rows == (sankey.Row("1 before", "Pricing", "Install", "7"),)


# --- letters


@given(text=st.text(max_size=60), most=st.integers(20, 300))
def test_a_cut_text_fits(text: str, most: int) -> None:
    found = lettering.cut(text, most)
    assert lettering.width(found) <= most
    assert found == text or text.startswith(found.removesuffix("…"))
    if lettering.width(text) <= most:
        assert found == text


# --- markup

HOSTILE = "<script>alert(1)</script>\"'"


@pytest.fixture(scope="module")
def macros() -> ModuleType:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= frame.FILTERS
    return environment.get_template("portal/_charts.html").module


def drawings(macros: ModuleType, text: str) -> dict[str, str]:
    """One of each, whose names and labels are all that text."""
    series = [Series(text, "view", [Point(text, "2026-11-01", n, n) for n in range(bins)]) for bins in (5, 40)]
    stops = [Flow(0, Stop(text, "view", "?step=1"), Stop(text + "2"), 3)]
    bars, lines = (time_series(text, [one], before=text, partial=True) for one in series)
    return {
        "bars": str(macros.time_series(bars, 2)),
        "lines": str(macros.time_series(lines)),
        "funnel": str(macros.funnel(funnel.funnel(text, [funnel.Step(text, "view", n) for n in (3, 2)]))),
        "breakdown": str(macros.breakdown(breakdown.breakdown(text, text, [breakdown.Row(text, 2, 3, "?a=b")], 9))),
        "sankey": str(macros.sankey(sankey.sankey(text, stops, headings=[text]))),
        "histogram": str(macros.histogram(histogram.histogram(text, [histogram.Bucket(text, 4)], text))),
        "sparkline": str(macros.sparkline(sparkline.sparkline([1, 2], text))),
    }


def test_whatever_is_charted_is_only_text(macros: ModuleType) -> None:
    for name, markup in drawings(macros, HOSTILE).items():
        assert "<script" not in markup, name
        assert not re.search(r"\sstyle=|\son\w+=", markup), name
        assert "&lt;script&gt;" in markup, name


def test_every_picture_is_named_and_has_its_table(macros: ModuleType) -> None:
    for name, markup in drawings(macros, "Views").items():
        if name != "sparkline":
            assert "<table" in markup, name
            assert 'class="chart-takeaway"' in markup, name
        if name != "breakdown":  # it is a table
            assert re.search(r'role="(img|group)" aria-label="[^"]*Views', markup), name


def test_charts_of_nothing_are_a_sentence(macros: ModuleType) -> None:
    for markup in (
        macros.time_series(time_series("Visitors", [])),
        macros.time_series(time_series("Visitors", [visitors([])])),
        macros.funnel(funnel.funnel("Steps", [])),
        macros.breakdown(breakdown.breakdown("Sources", "Source", [], 0)),
        macros.sankey(sankey.sankey("Ways", [])),
        macros.histogram(histogram.histogram("Time", [])),
    ):
        assert "<svg" not in markup
        assert "in this time." in markup or "for this time." in markup
