"""The pages of postbacks: who sets what, a webhook's secret and template, its test, and asking for another try."""

import re

import pytest
from engines import look
from portal_cast import NOW, Browser, House
from shipping_cast import SECRET_KEY

from collector.notices import Notices
from store import destinations
from store.destinations import Change
from store.engines import open_reader, open_writer
from store.postbacks import intents, targets
from store.postbacks.targets import Wishes
from store.readers import Readers
from store.secrets import Vault
from wire import webhook
from wire.hook import Hook
from wire.macros import DEFAULT
from wire.verdict import Reply

APP = "com.owner.charts"
BASE = f"/apps/{APP}/deliveries/postbacks"
FORM = {"active": "1", "delivery": "all", "delay": "0", "retries": "5"}
HOOK = {"name": "ours", "url": "https://hooks.owner.example/v1/in?c={{click.id}}", "form": "json", "template": DEFAULT}

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")


def a_key(house: House) -> None:
    change = Change(segment_write_key="K" * 32)
    house.store(lambda db: destinations.set_destination(db, Vault(SECRET_KEY), NOW, APP, change, 0))


def made(house: House, **wishes: str) -> targets.Target:
    told = Wishes(**({"name": "ours", "url": "https://hooks.owner.example/", "template": DEFAULT} | wishes))
    target: targets.Target = house.store(
        lambda db: targets.add_webhook(db, Vault(SECRET_KEY), NOW, APP, told, "whsec_AAAA", "ada")
    )
    return target


def owed(house: House, target: targets.Target, seq: int, state: str, reason: str = "") -> None:
    house_ledger(house, "insert or ignore into postback_health (app_key, target_id) values (?, ?)", *target.keys)
    row = (*target.keys, seq, 1, state, reason, NOW, NOW, 6, "x", NOW)
    house_ledger(house, "insert into postbacks values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)


def house_ledger(house: House, sql: str, *values: object) -> list[tuple[object, ...]]:
    return look(house.cast.where, "ledger", sql, *values)


def test_segment_is_told_when_an_editor_says_so_and_the_audit_knows(house: House, browser: Browser) -> None:
    browser.enter("editor")
    refused = browser.post(BASE, FORM)
    assert (refused.status_code, "Enter a Segment write key first" in refused.text) == (422, True)
    a_key(house)
    assert browser.post(BASE, FORM | {"delivery": "network", "delay": "300"}).headers["location"].endswith("done=saved")
    (target,) = house.store(lambda db: targets.of_apps(db, [APP]))
    assert (target.kind, target.active, target.delivery, target.delay_ms) == ("segment", True, "network", 300_000)
    assert house.audit() == (
        "editor@editor.example",
        "postback.set",
        APP,
        "Install Attributed: on, network only, delay 300 s, 5 retries",
    )
    assert "Change how it is told" in browser.get(BASE).text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"delay": "601"}, "choose a delay"),
        ({"retries": "11"}, "choose 0 to 10 retries"),
        ({"delivery": "some"}, "choose of which installs"),
        ({"delivery": "agency"}, "name the agency"),
        ({"name": " "}, "has 1 to 60 characters"),
        ({"url": "http://hooks.owner.example/"}, "https://"),
        ({"url": "https://127.0.0.1/"}, "loopback"),
        ({"url": "https://169.254.169.254/latest"}, "credentials"),
        ({"url": "https://hooks.owner.example:8443/"}, "port 443"),
        ({"url": "https://{{app.key}}.example/"}, "the address must be"),
        ({"url": "https://hooks.owner.example/?a={{nothing}}"}, "there is no macro"),
        ({"url": "https://hooks.owner.example/?a=b#c"}, "in a query"),
        ({"template": "{"}, "the template is no JSON"),
    ],
)
def test_a_bad_webhook_is_not_made_and_the_page_says_why(
    house: House, browser: Browser, changed: dict[str, str], said: str
) -> None:
    browser.enter("editor")
    answer = browser.post(f"{BASE}/new", FORM | HOOK | changed)
    assert answer.status_code == 422
    assert said.casefold() in answer.text.casefold()
    assert house.store(lambda db: targets.of_apps(db)) == []


def test_a_secret_is_shown_once_kept_encrypted_and_rotated_with_the_one_before(house: House, browser: Browser) -> None:
    browser.enter("editor")
    page = browser.post(f"{BASE}/new", FORM | HOOK).text
    (first,) = re.findall(r'value="(whsec_[^"]+)"', page)
    (target,) = house.store(lambda db: targets.of_apps(db, [APP]))
    assert (target.url, target.secrets(Vault(SECRET_KEY), NOW)) == (HOOK["url"], [first])
    assert first.encode() not in house.cast.every_byte()
    (second,) = re.findall(r'value="(whsec_[^"]+)"', browser.post(f"{BASE}/{target.target_id}/secret").text)
    (target,) = house.store(lambda db: targets.of_apps(db, [APP]))
    assert target.secrets(Vault(SECRET_KEY), NOW) == [second, first]
    assert target.secrets(Vault(SECRET_KEY), NOW + 8 * 86_400_000) == [second]
    shown = browser.get(f"{BASE}/{target.target_id}").text
    assert (first in shown, second in shown, second[-4:] in shown) == (False, False, True)
    browser.post(f"{BASE}/{target.target_id}/act", {"action": "end"})
    (target,) = house.store(lambda db: targets.of_apps(db, [APP]))
    assert target.secrets(Vault(SECRET_KEY), NOW) == [second]
    actions = house.rows("select action from audit where action like 'postback.%' order by action")
    assert actions == [("postback.add",), ("postback.secret",), ("postback.secret",)]


def test_what_would_be_sent_is_shown_and_nothing_is_saved(house: House, browser: Browser) -> None:
    browser.enter("editor")
    page = browser.post(f"{BASE}/new", FORM | HOOK | {"do": "preview"})
    assert page.status_code == 200
    assert "https://hooks.owner.example/v1/in?c=test-click" in page.text
    assert "Spring \\&#34;sale\\&#34; &amp; more" in page.text
    assert house.store(lambda db: targets.of_apps(db)) == []


def test_a_test_leaves_signed_and_its_answer_is_shown(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Hook] = []

    def send(hook: Hook, values: dict[str, object], allowed: object) -> Reply:
        sent.append(hook)
        return Reply(503, "<b>no upstream</b>")

    monkeypatch.setattr(webhook, "send", send)
    target = made(house)
    browser.enter("editor")
    page = browser.post(f"{BASE}/{target.target_id}/test").text
    assert "The test was not taken: answer 503" in page
    assert "&lt;b&gt;no upstream&lt;/b&gt;" in page
    assert [hook.secrets for hook in sent] == [("whsec_AAAA",)]
    again = browser.post(f"{BASE}/{target.target_id}/test")
    assert (again.status_code, len(sent)) == (422, 1)


def test_another_try_giving_up_and_enabling_are_asked_of_the_exporter(house: House, browser: Browser) -> None:
    target = made(house)
    owed(house, target, 7, "given_up", "attempts_spent")
    owed(house, target, 8, "given_up", "person")
    owed(house, target, 9, "pending")
    browser.enter("editor")
    path = f"{BASE}/{target.target_id}"
    assert "every attempt failed" in browser.get(f"{path}?state=given_up").text
    assert browser.post(f"{path}/act", {"action": "retry", "seq": "7"}).status_code == 303
    assert browser.post(f"{path}/act", {"action": "give_up", "all": "1"}).status_code == 303
    assert browser.post(f"{path}/act", {"action": "enable"}).status_code == 303
    assert browser.post(f"{path}/act", {"action": "retry", "seq": "70"}).status_code == 404
    assert browser.post(f"{path}/act", {"action": "delete"}).status_code == 404
    asked = house.store(lambda db: intents.of_all(db))
    assert {(each.seq, each.action) for each in asked} == {(7, "retry"), (9, "give_up"), (0, "enable")}
    assert "tried again with the next run" in browser.get(path).text


def test_a_strangers_webhook_is_not_there_and_a_viewer_changes_nothing(house: House, browser: Browser) -> None:
    target = made(house)
    owed(house, target, 7, "pending")
    before = house.state()
    for name in ("stranger", "viewer"):
        browser.enter(name)
        for path in ("", "/secret", "/test", "/act"):
            answer = browser.post(f"{BASE}/{target.target_id}{path}", FORM | HOOK | {"action": "remove"})
            assert answer.status_code == 404, (name, path)
    after = house.state()
    assert {table: rows for table, rows in after.items() if table != "sessions"} == {
        table: rows for table, rows in before.items() if table != "sessions"
    }
    browser.enter("stranger")
    assert browser.get(f"{BASE}/{target.target_id}").status_code == 404
    other = f"/apps/com.stranger.notes/deliveries/postbacks/{target.target_id}"
    assert browser.get(other).status_code == 404


def test_a_disabled_webhook_is_noticed_on_its_page_and_once_in_the_audit(house: House, browser: Browser) -> None:
    target = made(house)
    owed(house, target, 7, "pending")
    house_ledger(house, "update postback_health set disabled_at = ?, disabled_why = 'it answers 410'", NOW)

    async def look_twice(_: object) -> None:
        for _ in range(2):
            async with (
                Readers(house.cast.where) as readers,
                await open_reader(house.cast.where, "registry") as reader,
                await open_writer(house.cast.where, "registry") as writer,
            ):
                await Notices(readers, reader, writer).look()

    house.store(look_twice)
    lines = house.rows("select actor, detail, partner_key from audit where action = 'postback.disabled'")
    assert lines == [("exporter", "webhook ours: it answers 410", "owner")]
    browser.enter("owner")
    assert "Disabled on" in browser.get(BASE).text
    assert "Enable again" in browser.get(f"{BASE}/{target.target_id}").text
    assert "Postbacks disabled" in browser.get("/audit").text
    assert "Postbacks to 1 target is disabled" in browser.get(f"/apps/{APP}/deliveries").text
    assert "A postback is disabled" in browser.get("/").text
