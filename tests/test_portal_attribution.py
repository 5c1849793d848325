"""Attribution: installs by outcome and by campaign under each model, the list of them, and why one was decided so."""

from __future__ import annotations

import asyncio
import re

from decided_installs import decided
from numbers_visit import CHARTS, DAY_MS, HOUR_MS, PARTNER, reading
from portal_cast import House, message
from rollup_cast import NOW, happened

from store.engines import open_writer
from store.event import NewRow

PAGE = f"{CHARTS}/attribution"
CONVERSIONS = f"{PAGE}/conversions"


def came_by(source: str, visitor: str, ago: int) -> NewRow:
    return happened(visitor=visitor, at=NOW - ago, query={"utm_source": source, "utm_campaign": "spring"})


def installed(visitor: str, ago: int) -> NewRow:
    return happened("install", visitor, NOW - ago, source="server")


ROWS = [
    came_by("news", "a", 20 * DAY_MS),
    came_by("ads", "a", 9 * DAY_MS),
    came_by("blog", "a", 8 * DAY_MS),
    installed("a", 7 * DAY_MS),
    came_by("ads", "b", 3 * DAY_MS),
    installed("b", 2 * DAY_MS),
    came_by("old", "c", 60 * DAY_MS),
    installed("c", DAY_MS),
    installed("d", DAY_MS),
    installed("a", HOUR_MS + 4 * DAY_MS),
]


def test_installs_are_attributed_organic_or_reinstalls_and_add_up(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        page = reader.read(PAGE)
        outcomes = reader.table(PAGE, "outcomes")
    assert "Attributed 2 Organic 2 Reinstalls 1 Installs 5" in page
    assert [(row["outcome"], row["installs"]) for row in outcomes] == [
        ("attributed", 2),
        ("organic", 2),
        ("reinstall", 1),
        ("told_again", 0),
    ]


def test_every_models_shares_add_up_to_the_installs(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        rows = reader.table(PAGE, "campaigns")
        page = reader.read(PAGE)
        by_first = reader.table(f"{PAGE}?model=first", "campaigns")
    assert [row["campaign"] for row in by_first] == ["ads/spring", "news/spring", "blog/spring", ""]
    shares = {row.pop("campaign"): list(row.values()) for row in rows}
    assert shares == {
        "ads/spring": [1.0, 1.0, 1.0, 1.33, 1.2, 1.41],
        "blog/spring": [1.0, 0.0, 1.0, 0.33, 0.4, 0.45],
        "news/spring": [0.0, 1.0, 0.0, 0.34, 0.4, 0.14],
        "": [2.0] * 6,
    }
    assert "ads/spring 1 1 1 1.33 1.20 1.41" in page
    assert "Organic 2 2 2 2 2 2 All 4 4 4 4 4 4" in page


def test_the_page_of_all_apps_has_the_same_installs_and_the_days_are_in_utc(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        here, everywhere = reader.table(PAGE, "over-time"), reader.table(f"{PARTNER}/attribution", "over-time")
        page = reader.read(f"{PAGE}?tz=Asia/Tokyo")
        told = reader.get(f"{PAGE}.json?period=7d&tz=Asia/Tokyo").json()
        csv = reader.get(f"{PAGE}.csv?period=7d&table=outcomes").text
    assert here == everywhere
    assert sum(row["attributed"] for row in here) == 2
    assert "Days are days in UTC" in page
    assert (told["view"]["tz"], told["view"]["from"], told["view"]["to"]) == ("UTC", "2026-05-22", "2026-05-28")
    assert csv.splitlines()[1:] == ["attributed,1,1", "organic,2,0", "reinstall,1,0", "told_again,0,0"]


def test_revenue_is_shared_by_the_same_models_in_each_currency_to_its_smallest_unit(house: House) -> None:
    decided(house.cast.where, ROWS)
    earned = {"ads/spring": (1_000, 334), "blog/spring": (0, 333), "news/spring": (0, 333), "": (1, 1)}
    for currency in ("EUR", "JPY"):
        for key, amounts in earned.items():
            for model, amount in zip(("decided", "linear"), amounts, strict=True):
                values = ("com.owner.charts", "owner", model, NOW // DAY_MS, key, currency, amount)
                earn(house, values)
    with reading(house) as reader:
        page = reader.read(PAGE)
        rows = reader.table(PAGE, "revenue")
    assert "Revenue in EUR" in page
    assert "Organic 0.01 0.00 0.00 0.01 0.00 0.00 All 10.01 0.00 0.00 10.01 0.00 0.00" in page
    assert "Organic 1 0 0 1 0 0 All 1 001 0 0 1 001 0 0" in page
    assert [(row["currency"], row["campaign"], row["decided"], row["linear"]) for row in rows[:2]] == [
        ("EUR", "ads/spring", 10.0, 3.34),
        ("EUR", "blog/spring", 0.0, 3.33),
    ]


def earn(house: House, values: tuple[object, ...]) -> None:
    async def work() -> None:
        async with await open_writer(house.cast.where, "ledger") as db:
            await db.change("insert into attribution_revenue values (?, ?, ?, ?, ?, ?, ?)", values)

    asyncio.run(work())


def test_without_installs_the_pages_say_what_makes_one(house: House) -> None:
    with reading(house) as reader:
        assert "An install is decided with the exporter's next run after it was told of." in reader.read(PAGE)
        assert "it is decided with the exporter's next run." in reader.read(CONVERSIONS)


def test_conversions_are_listed_newest_first_by_outcome_and_by_campaign(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        everything = reader.page(CONVERSIONS)
        organic = reader.read(f"{CONVERSIONS}?outcome=organic")
        ads = reader.page(f"{CONVERSIONS}?campaign=ads/spring")
        none = reader.read(f"{CONVERSIONS}?campaign=nobody")
    assert seqs(everything) == ["8", "9", "6", "10", "4"] or seqs(everything) == ["9", "8", "6", "10", "4"]
    assert "It was too long before the install" in organic
    assert "No campaign before it" in organic
    assert "Reinstall 21" not in organic
    assert seqs(ads) == ["6"]
    assert "None of these" in none


def seqs(page: str) -> list[str]:
    return re.findall(r"/attribution/conversions/(\d+)", page)


def test_a_conversion_explains_what_won_and_why_each_of_the_others_lost(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        page = reader.read(f"{CONVERSIONS}/4")
        links = reader.page(f"{CONVERSIONS}/4")
        assert f'href="{CONVERSIONS}/4"' in reader.page(f"{CHARTS}/events/4")
    assert "The click was 1 d before the install, within the 30 d that a click counts" in page
    assert "known by the visitor's id. 2 other pieces of evidence lost" in page
    order = ["news / spring Lost The winner was later.", "ads / spring Lost", "blog / spring Won", "Install"]
    places = [page.index(each, page.index("in order of time")) for each in order]
    assert places == sorted(places)
    assert "blog/spring 100.00 0.00 100.00" in page
    assert "The install was told of Attributed, by blog / spring" in page
    for address in (f"{CHARTS}/events/1", f"{CHARTS}/events/4", f"{CHARTS}/visitors?visitor={'a' * 40}"):
        assert f'href="{address}"' in links


def test_what_did_not_count_is_explained_with_its_window(house: House) -> None:
    decided(house.cast.where, ROWS)
    with reading(house) as reader:
        page = reader.read(f"{CONVERSIONS}/8")
        bare, again = reader.read(f"{CONVERSIONS}/9"), reader.page(f"{CONVERSIONS}/10")
    assert "There was evidence, and none of it counts." in page
    assert "too long before the install: 59 d, and a click counts for 30 d (the default)." in page
    assert "Nothing is known that led to it" in bare
    assert "Somebody installed the app who has it already, or had it, the same visitor: no" in words_of(again)
    assert f'href="{CONVERSIONS}/4"' in again


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_nobody_sees_another_partners_installs(house: House) -> None:
    decided(house.cast.where, ROWS)
    notes = "/apps/com.stranger.notes/attribution/conversions"
    with reading(house, name="stranger") as reader:
        for page in (PAGE, f"{PAGE}.json", CONVERSIONS, f"{CONVERSIONS}/4", f"{notes}/4", f"{notes}/x", f"{notes}/99"):
            assert reader.get(page).status_code == 404
        assert reader.get(notes).status_code == 200


# --- the rules


def audited(house: House) -> list[tuple[str, ...]]:
    return house.rows("select action, subject, detail from audit")


RULES = f"{PAGE}/rules"


def test_the_rules_in_force_say_whence_they_are_and_an_empty_field_is_as_the_next_wider_says(house: House) -> None:
    with reading(house) as reader:
        assert "A click counts for before the install 30d the default" in reader.read(RULES)
        answer = reader.browser.enter("operator").post("/operator/attribution", {"click": "14d", "view": "2h"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/operator/attribution?done=1")
        assert ("marketplace.attribution", "every app", "click 14d, view 2h") in audited(house)
        reader.browser.enter("editor").post(RULES, {"click": "7d", "by_network": "on"})
        assert ("app.attribution", "com.owner.charts", "click 7d, by_network on") in audited(house)
        page = reader.read(RULES)
        assert "A click counts for before the install 7d the app's rule" in page
        assert "2h the marketplace's rule" in page
        assert "Address and agent alone may decide on the app's rule" in page
        reader.browser.post(RULES, {"click": "", "by_network": ""})
        assert "A click counts for before the install 14d the marketplace's rule" in reader.read(RULES)


def test_a_campaign_has_windows_of_its_own_until_they_are_removed(house: House) -> None:
    with reading(house) as reader:
        reader.browser.post(RULES, {"campaign": "Google/Brand ", "click": "3d", "settle": "9d"})
        assert ("app.attribution", "com.owner.charts", "google/brand: click 3d") in audited(house)
        assert "google/brand 3d as the app as the app" in reader.read(RULES)
        reader.browser.post(RULES, {"campaign": "google/brand"})
        assert "Every campaign goes by the app's." in reader.read(RULES)


def test_what_is_no_length_is_refused_with_what_was_entered(house: House) -> None:
    with reading(house) as reader:
        for fields, said in (
            ({"click": "soon"}, "Soon is no length such as 30d, 12h or 90min."),
            ({"click": "91d"}, "Click is 0, or from 1h to 90d."),
            ({"by_network": "maybe"}, "Address and agent alone may decide, or may not: on or off."),
            (
                {"campaign": " ", "click": "1d"},
                "A campaign is named by its source and its name, as in google/spring sale.",
            ),
        ):
            answer = reader.browser.post(RULES, fields)
            assert (answer.status_code, message(answer).replace("&#39;", "'")) == (422, said)
            assert "by_network" in fields or f'value="{[*fields.values()][-1]}"' in answer.text


def test_who_may_only_look_sees_the_rules_and_no_form(house: House) -> None:
    with reading(house, name="viewer") as reader:
        assert "Set for this app" not in reader.read(RULES)
        assert reader.browser.post(RULES, {"click": "7d"}).status_code == 404
        assert reader.get("/operator/attribution").status_code == 404
