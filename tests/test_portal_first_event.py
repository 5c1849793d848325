"""What a partner's own systems send for the first time, from the call to the portal's page, with nothing set up."""

import time
from collections.abc import Callable

import pytest
from conftest import Cast, Doors
from kochava_cast import call, post
from portal_cast import Browser, House
from waiting import until

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

PAGE = "/apps/com.owner.charts/event-names"


def by_kochavas_call(doors: Doors, cast: Cast) -> int:
    said = {"event_name": "Skis Waxed", "usertime": int(time.time()), "event_data": {"pairs": 2}}
    return post(doors, call(cast, **said)).status_code


def by_segments_call(doors: Doors, cast: Cast) -> int:
    ((key,),) = cast.rows("select ingest_key from apps where app_key = 'com.owner.charts'", nature="registry")
    message = {"writeKey": key, "event": "Skis Waxed", "userId": "u-1", "properties": {"pairs": 2}}
    return post(doors, message, "/v1/track").status_code


@pytest.mark.parametrize("send", [by_kochavas_call, by_segments_call])
def test_an_event_that_nobody_prepared_is_on_the_page_once_it_came(
    house: House, browser: Browser, send: Callable[[Doors, Cast], int]
) -> None:
    house.now = time.time_ns() // 1_000_000
    browser.enter("owner")
    assert "Skis Waxed" not in browser.get(PAGE).text
    assert send(Doors(browser.client, house.cast), house.cast) == 200
    until(lambda: "Skis Waxed" in browser.get(PAGE).text)
    (listed,) = browser.get(f"{PAGE}.json").json()["events"]
    assert (listed["event"], listed["count"]) == ("Skis Waxed", 1)
    page = browser.get(f"{PAGE}/event?name=Skis%20Waxed").text
    assert "pairs" in page
