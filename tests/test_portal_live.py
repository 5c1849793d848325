"""Live events: what is shown, found and withheld, page by page, and one event beside what leaves of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from portal_visit import Visit, visiting, words
from shipping_cast import ACCOUNT, NOON, OWNER, STRANGER, VISITOR, Installation, an_event

from store import log
from store.engines import open_writer
from store.entry import Entry, Rejection
from store.event import Details

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

LIVE = f"/apps/{OWNER}/live"


@pytest.fixture
def visit(installation: Installation) -> Iterator[Visit]:
    with visiting(installation) as visit:
        yield visit


def seqs(page: str) -> list[int]:
    """The events of a page, in its order."""
    return [int(each) for each in re.findall(r'data-seq="(\d+)"', page)]


def reject(visit: Visit, app: str = OWNER, reason: str = "invalid", detail: str = "Expected `str`") -> None:
    async def store() -> None:
        async with await open_writer(visit.installation.data_dir, "log") as db:
            refused = Rejection(app, "browser", NOON, reason, detail, b'{"url":"https://a.example/secret"}')
            await log.commit(db, [Entry("browser", NOON, [], [], [refused])], Counter())

    asyncio.run(store())


def test_events_are_shown_the_newest_first_page_by_page(visit: Visit) -> None:
    visit.installation.views(120)
    visit.sign_in()
    first = visit.get(LIVE).text
    assert seqs(first) == list(range(120, 70, -1))
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = visit.get(older).text
    assert seqs(second) == list(range(70, 20, -1))
    (oldest,) = re.findall(r'rel="next" href="([^"]+)"', second)
    assert seqs(visit.get(oldest).text) == list(range(20, 0, -1))


def test_another_apps_events_are_not_there(visit: Visit) -> None:
    visit.installation.views(2)
    visit.installation.views(3, app=STRANGER)
    visit.sign_in()
    assert seqs(visit.get(LIVE).text) == [2, 1]
    assert visit.get(f"/apps/{OWNER}/events/3").status_code == 404
    for path in (f"/apps/{STRANGER}/live", f"/apps/{STRANGER}/live/news", f"/apps/{STRANGER}/events/3"):
        assert visit.get(path).status_code == 404


def test_what_was_collected_for_another_partner_is_not_shown_to_the_next(visit: Visit) -> None:
    visit.installation.collect(an_event(partner_key="former"), an_event())
    visit.sign_in()
    assert seqs(visit.get(LIVE).text) == [2]
    assert visit.get(f"/apps/{OWNER}/events/1").status_code == 404


def test_nothing_yet_tells_the_next_step(visit: Visit) -> None:
    visit.sign_in()
    page = visit.read(LIVE)
    assert "Nothing has come in yet" in page
    assert "Open your listing in another window" in page


def test_a_suppressed_event_is_marked_with_its_reason_and_shows_nothing_else(visit: Visit) -> None:
    visit.installation.collect(an_event(suppressed="gpc", partner_anonymous_id="crm-1"))
    visit.sign_in()
    page = visit.get(LIVE).text
    assert "Suppressed the visitor's browser sends Global Privacy Control" in words(visit.get(LIVE))
    event = visit.get(f"/apps/{OWNER}/events/1").text
    for text in (page, event):
        assert VISITOR[:8] not in text
        assert "crm-1" not in text
        assert "google.com" not in text


@pytest.mark.parametrize("text", ["crm-7", VISITOR[::-1], ACCOUNT])
def test_an_event_is_found_by_any_of_its_ids(visit: Visit, text: str) -> None:
    wanted = an_event(partner_anonymous_id="crm-7", anonymous_id=VISITOR[::-1], user_id=ACCOUNT)
    visit.installation.collect(an_event(), wanted, an_event())
    visit.sign_in()
    assert seqs(visit.get(f"{LIVE}?q={text}").text) == [2]


def test_an_event_is_found_by_its_senders_id_and_by_the_id_that_it_left_under(visit: Visit) -> None:
    ids = visit.installation.views(3)
    visit.sign_in()
    assert seqs(visit.get(f"{LIVE}?q={ids[1]}").text) == [2]
    (sent,) = visit.installation.sent_ids([ids[2]])
    assert seqs(visit.get(f"{LIVE}?q={sent.upper()}").text) == [3]


@pytest.mark.parametrize("query", ["q=install", "q=Install", "event=install", "q=&event=install"])
def test_events_are_found_by_their_name(visit: Visit, query: str) -> None:
    visit.installation.collect(an_event(), an_event("install"), an_event("tab_click"))
    visit.sign_in()
    assert seqs(visit.get(f"{LIVE}?{query}").text) == [2]


def test_what_may_not_be_shared_is_not_found_by_an_id(visit: Visit) -> None:
    visit.installation.collect(an_event(suppressed="consent", partner_anonymous_id="crm-1"))
    visit.sign_in()
    assert "Nothing found" in visit.read(f"{LIVE}?q=crm-1")
    assert seqs(visit.get(f"{LIVE}?event=page_view").text) == [1]


def test_a_search_says_how_far_it_looked_and_goes_on_from_there(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.looking.SEARCHED", 10)
    visit.installation.collect(an_event(user_id=ACCOUNT), *[an_event()] * 14)
    visit.sign_in()
    page = visit.get(f"{LIVE}?q={ACCOUNT}")
    assert "Nothing found yet 10 events were looked at" in words(page)
    (further,) = re.findall(r'rel="next" href="([^"]+)"', page.text)
    assert seqs(visit.get(further.replace("&amp;", "&")).text) == [1]


NONSENSE = ["before=x", "before=-1", "before=99999999999999999999", "q=%00", "q=a%00b", "event=nope", "after=1e3"]


@pytest.mark.parametrize("query", NONSENSE)
def test_an_address_that_makes_no_sense_is_read_as_if_nothing_was_said(visit: Visit, query: str) -> None:
    visit.installation.views(1)
    visit.sign_in()
    assert visit.get(f"{LIVE}?{query}").status_code == 200


def test_news_are_the_events_past_a_place(visit: Visit) -> None:
    visit.installation.views(5)
    visit.sign_in()
    news = visit.get(f"{LIVE}/news?after=3").text
    assert seqs(news) == [5, 4]
    assert 'data-newest="5"' in news
    assert seqs(visit.get(f"{LIVE}/news?after=5").text) == []
    assert "data-more" not in news


def test_news_that_do_not_fit_say_so(visit: Visit) -> None:
    visit.installation.views(201)
    visit.sign_in()
    assert "data-more" in visit.get(f"{LIVE}/news?after=0").text


def test_rejections_stand_beside_with_their_reasons(visit: Visit) -> None:
    reject(visit)
    reject(visit, STRANGER, detail="of somebody else")
    visit.sign_in()
    page = visit.read(LIVE)
    assert "invalid" in page
    assert "Expected `str`" in page
    assert "of somebody else" not in page


def test_what_was_rejected_is_shown_to_operators_alone(visit: Visit) -> None:
    reject(visit)
    visit.sign_in()
    assert "a.example/secret" not in visit.get(LIVE).text + visit.get(f"{LIVE}/news").text
    visit.sign_in(None)
    assert "a.example/secret" in visit.get(LIVE).text


# --- one event


def test_an_event_stands_beside_the_message_that_it_became(visit: Visit) -> None:
    ids = visit.installation.views(1)
    visit.installation.export()
    visit.sign_in()
    page = visit.read(f"/apps/{OWNER}/events/1")
    assert "Accepted by Segment" in page
    assert f'"messageId": "{visit.installation.sent_ids(ids)[0]}"' in page
    assert '"event": "MPAC User event"' in page
    assert f'"anonymous_id": "{VISITOR}"' in page
    assert "main: as it was sent" in page
    assert "delivered" not in page.lower()


def test_an_event_that_waits_says_for_what(visit: Visit) -> None:
    visit.installation.views(1)
    visit.sign_in()
    assert "No run of the exporter has begun here yet." in visit.read(f"/apps/{OWNER}/events/1")
    visit.leave()
    visit.installation.export()
    visit.installation.views(1)
    page = visit.read(f"/apps/{OWNER}/events/2")
    assert "Pending" in page
    assert "It waits for the next run." in page


def test_an_event_of_an_app_without_a_destination_goes_nowhere_and_says_so(visit: Visit) -> None:
    (app,) = visit.installation.add_apps(1, with_keys=False)
    visit.installation.views(1, app=app)
    visit.sign_in()
    assert "It is sent nowhere: the app has no destination yet." in visit.read(f"/apps/{app}/events/1")


def test_what_a_partners_own_systems_sent_is_told_as_they_call_it_and_leaves_for_nowhere(visit: Visit) -> None:
    """Also when it is called as one of the listing's events is, which does leave."""
    named = {"seq": 1, "source": "partner"}
    visit.installation.collect(
        an_event("Signed Up", Details(door="segment", properties={"plan": "pro"}), **named),
        an_event("", Details(door="webhook"), type="identify", **named | {"seq": 2}),
        an_event("page_view", Details(door="segment"), **named | {"seq": 3}),
        an_event("Skis Waxed", Details(door="kochava", properties={"pairs": 2}), **named | {"seq": 4}),
    )
    visit.installation.export()
    visit.sign_in()
    told = [
        ("Signed Up", "Track call through Segment's API", '"plan": "pro"'),
        ("Identify call", "Through Segment's webhook", '"type": "identify"'),
        ("page_view", "Track call through Segment's API", '"name": "page_view"'),
        ("Skis Waxed", "Track call through Kochava's calls", '"pairs": 2'),
    ]
    live = visit.read(LIVE)
    for seq, (name, what, kept) in enumerate(told, 1):
        page = visit.read(f"/apps/{OWNER}/events/{seq}")
        assert re.search(rf"<h1[^>]*><span[^>]*></span>{name}</h1>", visit.get(f"/apps/{OWNER}/events/{seq}").text)
        assert what in live
        assert kept in page
        assert "from the partner's own systems" in page
        assert "It came from the partner's own systems." in page
        assert "Nothing: it came from the partner's own systems." in page
        assert "MPAC" not in page
    assert visit.installation.landed() == []


@pytest.mark.parametrize("seq", ["0", "2", "x", "1e3", "99999999999999999999", "%C2%B2"])
def test_an_event_that_is_not_there_is_not_found(visit: Visit, seq: str) -> None:
    visit.installation.views(1)
    visit.sign_in()
    assert visit.get(f"/apps/{OWNER}/events/{seq}").status_code == 404
