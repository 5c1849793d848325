"""Deliveries: the sum and its picture, requests, pauses, parked events, replays and receipts, on real runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from portal_visit import Visit, visiting, words
from shipping_cast import NOON, OWNER, STRANGER, Installation, an_event

from collector.portal.deliveries import balance
from collector.portal.words import reason, share, span
from store.accounts import Account
from store.receipt import Receipt, check
from wire.verdict import Reply

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

DELIVERIES = f"/apps/{OWNER}/deliveries"
VIEWS = ["", "/parked", "/replays", "/receipts"]


@pytest.fixture
def visit(installation: Installation) -> Iterator[Visit]:
    with visiting(installation) as visit:
        yield visit


@pytest.mark.parametrize("view", VIEWS)
def test_before_anything_came_every_view_says_what_comes_next(visit: Visit, view: str) -> None:
    visit.sign_in()
    assert visit.get(DELIVERIES + view).status_code == 200


@pytest.mark.parametrize("view", VIEWS)
def test_for_a_stranger_there_is_nothing(visit: Visit, view: str) -> None:
    visit.installation.views(1)
    visit.installation.export()
    visit.sign_in("stranger")
    assert visit.get(DELIVERIES + view).status_code == 404


@pytest.mark.parametrize("address", ["/resume", "/parked", "/replays"])
def test_a_viewer_and_a_stranger_ask_for_nothing(visit: Visit, address: str) -> None:
    visit.installation.collect(an_event("strange"))
    visit.installation.export()
    fields = {"course": str(visit.installation.destination_id()), "seq": "1", "action": "drop", "from": "2026-02-01"}
    for partner, role in (("owner", "viewer"), ("stranger", "owner")):
        visit.sign_in(partner, role)  # type: ignore[arg-type]
        assert visit.post(DELIVERIES + address, destination="main", **fields).status_code == 404
    assert visit.installation.export().exit_code == 0
    assert len(visit.installation.parked(OWNER)) == 1


# --- the sum


def test_the_age_of_the_oldest_pending_event_comes_first(visit: Visit) -> None:
    now = time.time_ns() // 1_000_000
    visit.installation.collect(an_event(received_at=now - 42 * 60_000), an_event(received_at=now))
    visit.sign_in()
    assert "42 min is how long the oldest pending event has waited." in visit.read(DELIVERIES)


def test_every_event_has_its_place_in_the_sum(visit: Visit) -> None:
    visit.installation.collect(an_event(), an_event(suppressed="gpc"), an_event("strange"), an_event("uninstall"))
    visit.installation.export()
    visit.installation.views(2)
    visit.sign_in()
    page = visit.read(DELIVERIES)
    assert "Accepted by Segment 1" in page
    assert "Pending 2" in page
    assert "Parked 1 look at them : no partner knows an event of this name" in page
    assert (
        "Suppressed 2 the visitor's browser sends Global Privacy Control (1); uninstalls are not asked for (1)" in page
    )
    assert "Collected 6 counted on its own, and equal to the sum" in page
    assert (
        'aria-label="6 collected: 1 accepted, 2 pending, 1 parked, 2 suppressed, 0 expired"'
        in visit.get(DELIVERIES).text
    )


def test_a_sum_looked_at_again_counts_what_came_since(visit: Visit) -> None:
    visit.installation.views(3)
    visit.sign_in()
    assert "Pending 3" in visit.read(DELIVERIES)
    visit.installation.export()
    assert "Accepted by Segment 3" in visit.read(DELIVERIES)
    assert "Nothing is pending." in visit.read(DELIVERIES)


def test_the_picture_shows_whatever_is_there_and_is_as_wide_as_the_whole() -> None:
    fates = {("accepted", ""): 1_000_000, ("parked", "refused"): 1}
    made = balance(Account(OWNER, "main", fates, 3, NOON, "", {}, None, 0), "id", [], False)
    widths = {term.fate: term.width for term in made.terms}
    assert (widths["suppressed"], widths["expired"]) == (0, 0)
    assert min(widths["parked"], widths["pending"]) >= 6
    assert sum(widths.values()) == pytest.approx(1_000, abs=0.5)
    assert made.collected == 1_000_004


# --- requests


def test_each_request_is_shown_with_its_answer_under_its_run(visit: Visit) -> None:
    visit.installation.fault(status=503, times=1)
    visit.installation.views(3)
    visit.installation.export()
    visit.sign_in()
    page = visit.read(DELIVERIES)
    assert re.search(r"accepted 200 3 [\d.]+ kB \d+ ms 2 main", page)
    assert re.search(r"put off 503 .*3 [\d.]+ kB \d+ ms 1 main", page)
    assert page.count("only this run") == 1
    assert "accepted 200" not in visit.read(f"{DELIVERIES}?outcome=deferred")
    assert "No request is like that." in visit.read(f"{DELIVERIES}?outcome=refused")


def test_requests_come_page_by_page_the_newest_first(visit: Visit) -> None:
    visit.installation.views(1)
    visit.installation.export()
    (row,) = visit.installation.ledger("select app_key, destination_id, run_id from batches")
    for number in range(60):
        values = ", ".join(f"'{each}'" for each in (row[0], f"00000000-{number:04}", row[1], row[2]))
        visit.installation.ledger(
            "insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events,"
            f" bytes, opened_at, closed_at, outcome) values ({values}, 1, 1, 1, {number + 100}, 10, 0, 0, 'refused')"
        )
    visit.sign_in()
    first = visit.get(DELIVERIES).text
    numbers = [int(each) for each in re.findall(r'<td class="num">(1\d\d)</td>', first)]
    assert numbers == list(range(159, 110, -1))
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = visit.get(older.replace("&amp;", "&")).text
    assert [int(each) for each in re.findall(r'<td class="num">(1\d\d)</td>', second)] == list(range(110, 99, -1))


@pytest.mark.parametrize("query", ["destination=x", "outcome=x", "run=x", "before=x", "run='--"])
def test_a_filter_that_makes_no_sense_breaks_nothing(visit: Visit, query: str) -> None:
    visit.installation.views(1)
    visit.installation.export()
    visit.sign_in()
    assert visit.get(f"{DELIVERIES}?{query}").status_code == 200


def test_a_paused_destination_says_why_and_is_tried_again_when_asked(visit: Visit) -> None:
    visit.installation.views(3)
    visit.installation.export(send=visit.installation.replies(Reply(401, "no")))
    visit.installation.ledger("update cursors set not_before = 9000000000000, trips = 10")
    visit.sign_in()
    page = visit.read(DELIVERIES)
    assert "Paused: the endpoint answers 401. It is tried again in" in page
    visit.installation.export()
    assert visit.installation.landed() == []
    course = str(visit.installation.destination_id())
    assert visit.post(f"{DELIVERIES}/resume", course=course).headers["location"] == f"{DELIVERIES}?done=asked"
    assert "it is tried again with the next run" in visit.read(DELIVERIES)
    visit.installation.export()
    assert len(visit.installation.landed()) == 3
    assert "Paused" not in visit.read(DELIVERIES)


def test_another_apps_course_is_not_resumed(visit: Visit) -> None:
    visit.sign_in()
    theirs = str(visit.installation.destination_id(STRANGER))
    assert visit.post(f"{DELIVERIES}/resume", course=theirs).status_code == 404


# --- parked


@pytest.fixture
def parked(visit: Visit) -> Visit:
    """Three parked events, and somebody who may decide."""
    visit.installation.collect(*[an_event("strange")] * 3, an_event())
    visit.installation.export()
    visit.sign_in(role="editor")
    return visit


def course(visit: Visit) -> str:
    return str(visit.installation.destination_id())


def test_a_parked_event_is_shown_with_its_reason_and_what_it_holds(parked: Visit) -> None:
    page = parked.read(f"{DELIVERIES}/parked")
    assert page.count("No partner knows an event of this name. strange") == 3
    assert '"name": "strange"' in page


def test_one_event_is_released_and_another_dropped(parked: Visit) -> None:
    assert parked.post(f"{DELIVERIES}/parked", course=course(parked), seq="2", action="drop").status_code == 303
    assert parked.post(f"{DELIVERIES}/parked", course=course(parked), seq="3", action="release").status_code == 303
    page = parked.read(f"{DELIVERIES}/parked")
    assert "Dropped with the next run." in page
    assert "Released: it goes out with the next run." in page
    parked.installation.export()
    owed = parked.installation.owed()
    assert (owed["parked"], owed["suppressed"]) == (2, 1)  # a released one that is as strange as before is parked again


def test_all_are_dropped_at_once(parked: Visit) -> None:
    assert parked.post(f"{DELIVERIES}/parked", course=course(parked), all="1", action="drop").status_code == 303
    parked.installation.export()
    assert parked.installation.parked(OWNER) == []
    assert "Nothing is parked" in parked.read(f"{DELIVERIES}/parked")


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": "4", "action": "drop"},
        {"seq": "x", "action": "drop"},
        {"seq": "1", "action": "resume"},
        {"action": "drop"},
        {"seq": "1", "action": "drop", "course": "another"},
        {"all": "1", "action": "release", "course": "another"},
    ],
)
def test_what_is_not_parked_is_not_decided_on(parked: Visit, fields: dict[str, str]) -> None:
    answer = parked.post(f"{DELIVERIES}/parked", **{"course": course(parked), **fields})
    assert answer.status_code == 404
    parked.installation.export()
    assert len(parked.installation.parked(OWNER)) == 3


# --- replays


def test_a_replay_is_counted_first_then_asked_for_and_sent(visit: Visit) -> None:
    visit.installation.views(4)
    visit.installation.collect(an_event(suppressed="consent"))
    visit.installation.export()
    visit.sign_in()
    window = {"from": "2026-02-16", "to": "2026-02-16", "destination": "main", "new_ids": "1"}
    query = "&".join(f"{name}={value}" for name, value in window.items())
    page = visit.read(f"{DELIVERIES}/replays?{query}")
    assert "It would send 4 events" in page
    assert "1 more stay suppressed" in page
    counted = query.replace("&new_ids=1", "")
    assert "4 are older: Segment takes them again." in visit.read(f"{DELIVERIES}/replays?{counted}")
    assert len(visit.installation.landed()) == 4
    assert visit.post(f"{DELIVERIES}/replays", **window).headers["location"] == f"{DELIVERIES}/replays?done=asked"
    assert "begins with the next run" in visit.read(f"{DELIVERIES}/replays")
    visit.installation.export()
    assert len(visit.installation.landed()) == 8
    assert "everything was passed" in visit.read(f"{DELIVERIES}/replays")


def test_a_replay_is_stopped(visit: Visit) -> None:
    visit.installation.views(2)
    replay = visit.installation.replay(OWNER, 0, 2)
    visit.sign_in()
    assert visit.post(f"{DELIVERIES}/replays", cancel=replay).headers["location"].endswith("done=stopped")
    assert "stopped" in visit.read(f"{DELIVERIES}/replays")
    again = visit.post(f"{DELIVERIES}/replays", cancel=replay)
    assert again.status_code == 422


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"from": "soon"}, "Soon is no date"),
        ({"from": "2026-02-16", "to": "later"}, "Later is no date"),
        ({"from": "2026-02-18", "to": "2026-02-16"}, "nothing was collected|first"),
        ({"from": "2026-03-01"}, "Nothing was collected in that time"),
        ({"from": "2026-02-16", "destination": "nowhere"}, "has no destination nowhere"),
    ],
)
def test_a_window_that_is_none_is_refused_before_and_after(visit: Visit, window: dict[str, str], said: str) -> None:
    visit.installation.views(1)
    visit.sign_in()
    given = {"destination": "main", **window}
    query = "&".join(f"{name}={value}" for name, value in given.items())
    for answer in (visit.get(f"{DELIVERIES}/replays?{query}"), visit.post(f"{DELIVERIES}/replays", **given)):
        assert answer.status_code == 422
        assert re.search(said, words(answer), re.IGNORECASE)


# --- receipts


def test_a_receipt_is_downloaded_and_holds(visit: Visit) -> None:
    ids = visit.installation.views(3)
    visit.installation.export()
    visit.sign_in()
    page = visit.get(f"{DELIVERIES}/receipts").text
    (path,) = re.findall(r'href="(/apps/[^"]+\.json)"', page)
    answer = visit.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith('attachment; filename="receipt-')
    (key,) = re.findall(r">([A-Za-z0-9+/]{43}=)</pre>", page)
    told = check(Receipt(**json.loads(answer.content)), key, visit.installation.sent_ids(ids))
    assert (told.app, told.accepted) == (OWNER, 3)


def test_a_strangers_receipt_is_not_there(visit: Visit) -> None:
    visit.installation.views(1)
    visit.installation.export()
    visit.sign_in()
    (path,) = re.findall(r'href="(/apps/[^"]+\.json)"', visit.get(f"{DELIVERIES}/receipts").text)
    visit.sign_in("stranger")
    assert visit.get(path).status_code == 404
    assert visit.get(path.replace(OWNER, STRANGER)).status_code == 404


# --- words


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(-5, "0 s"), (59_999, "59 s"), (61_000, "1 min"), (3_660_000, "1 h 1 min"), (90_000_000, "1 d 1 h")],
)
def test_a_span_of_time_in_its_two_largest_units(milliseconds: int, said: str) -> None:
    assert span(milliseconds) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 0, "none"),
        (0, 9, "0\u202f%"),
        (1, 900, "under 1\u202f%"),
        (899, 900, "over 99\u202f%"),
        (9, 9, "100\u202f%"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said


def test_a_refusal_is_said_in_words_with_its_status() -> None:
    assert reason("refused_400") == "Segment refused it (400)"
    assert reason("refused_elsewhere") == "refused_elsewhere"
