"""What is told of the results of attribution, to whom, how often and under which ids; in real runs."""

import asyncio
import json
import threading
import uuid
from typing import Any

import pytest
from postback_cast import SPRING, Postbacks, a_decision, registry
from shipping_cast import ACCOUNT, NOON, OWNER, STRANGER, VISITOR, Installation, an_event
from waiting import PATIENCE_SECONDS

from attribution.evidence import Campaign
from collector.standing import of_destinations
from exporter import resolve
from store import balance
from store.accounts import Accounts
from store.event import Details
from store.postbacks import delivering, targets
from wire.verdict import Reply


@pytest.fixture
def told(installation: Installation) -> Postbacks:
    return Postbacks(installation)


def attributed(told: Postbacks, app: str = OWNER) -> list[dict[str, object]]:
    """What the app's Segment source got of attribution."""
    return [message for message in told.installation.landed(app) if message["event"] == "Install Attributed"]


def test_a_segment_source_is_told_which_campaign_won(told: Postbacks) -> None:
    target = told.to_segment()
    told.installation.set(OWNER, profile="segment")
    details = Details(ids={"idfa": "AAAA", "idfv": "BBBB"})
    seq = told.decided(details=details, user_id=ACCOUNT)
    report = told.run()
    assert (report.postbacks.accepted, report.postbacks.failed) == (1, 0)
    (message,) = attributed(told)
    (row,) = told.installation_log("select message_id from events where seq = ?", seq)
    install = uuid.UUID(bytes=bytes(row[0])).hex
    assert message["messageId"] == str(uuid.uuid5(uuid.UUID(target.target_id), f"{install}\n1"))
    assert message["properties"] == {
        "provider": "Footfall",
        "campaign": {"source": "newsletter", "name": "spring", "medium": "email"},
    }
    assert (message["anonymousId"], message["userId"]) == (VISITOR, ACCOUNT)
    assert message["context"]["device"] == {"id": "BBBB", "advertisingId": "AAAA", "type": "ios"}  # type: ignore[index]
    assert message["integrations"] == {"Footfall": False}
    assert told.states(target) == [(seq, "accepted", "", 1)]
    told.run()
    assert len(attributed(told)) == 1


def test_an_organic_install_has_a_campaign_that_is_an_object_and_holds_no_null(told: Postbacks) -> None:
    told.to_segment(provider="Acme Ads")
    told.decided(a_decision(None))
    told.run()
    (message,) = attributed(told)
    assert message["properties"] == {"provider": "Acme Ads", "campaign": {"source": "Organic"}}
    assert message["userId"] == VISITOR
    assert "null" not in json.dumps(message["properties"])


def test_a_partners_own_install_is_given_back_under_the_partners_own_ids(told: Postbacks) -> None:
    told.to_segment()
    told.decided(source="partner", anonymous_id="a1", partner_anonymous_id="a1", user_id="crm-7")
    told.run()
    (message,) = attributed(told)
    assert (message["anonymousId"], message["userId"]) == ("a1", "crm-7")


@pytest.mark.parametrize(
    ("wishes", "campaign", "reason"),
    [
        ({"delivery": "all"}, None, None),
        ({"delivery": "network"}, None, "organic"),
        ({"delivery": "network"}, SPRING, None),
        ({"delivery": "network", "networks": "Newsletter, x"}, SPRING, None),
        ({"delivery": "network", "networks": "other"}, SPRING, "other_campaign"),
        ({"delivery": "network", "networks": "other"}, Campaign(source="n", provider="Bright"), "other_campaign"),
        ({"delivery": "agency", "networks": "other", "agencies": "bright"}, Campaign(provider="Bright"), None),
        ({"delivery": "agency", "agencies": "bright"}, SPRING, "other_campaign"),
        ({"delivery": "agency", "networks": "newsletter", "agencies": "bright"}, SPRING, None),
        ({"delivery": "all", "active": False}, SPRING, "switched_off"),
    ],
)
@pytest.mark.only("sqlite", "the rule is no engine's")
def test_who_is_told_of_which_campaign(
    told: Postbacks, wishes: dict[str, object], campaign: Campaign | None, reason: str | None
) -> None:
    target = told.webhook(**wishes)
    seq = told.decided(a_decision(campaign))
    told.run()
    expected = (seq, "unasked", reason, 0) if reason else (seq, "accepted", "", 1)
    assert told.states(target) == [expected]


def test_nobody_is_told_of_a_visitor_who_said_no_of_a_repeat_or_of_what_came_before(told: Postbacks) -> None:
    refused = told.install(suppressed="consent")
    again, early = told.install(), told.install(received_at=NOON - 60_000)
    target = told.webhook()
    told.decide(refused)
    told.decide(again, a_decision(None, "told_again"))
    told.decide(early)
    told.run()
    assert told.states(target) == [(refused, "unasked", "consent", 0), (again, "unasked", "told_again", 0)]
    assert told.receiver.got == []


def test_a_stranger_is_told_of_nothing(told: Postbacks) -> None:
    target = told.webhook(app=STRANGER)
    told.decided()
    told.run()
    assert (told.states(target), told.receiver.got) == ([], [])


def test_from_a_view_with_a_campaign_to_the_webhook_it_takes_one_run(told: Postbacks) -> None:
    """Nothing is decided by the test here."""
    target = told.webhook(delivery="network", networks="newsletter")
    query = {"utm_source": "newsletter", "utm_campaign": 'Spring "sale"'}
    url = "https://market.example/apps/1219125/charts?utm_source=newsletter&utm_campaign=Spring+%22sale%22"
    told.installation.collect(an_event(details=Details(url=url, query=query)))
    seq = told.install(occurred_at=NOON + 60_000, source="server")
    other = told.install(occurred_at=NOON + 60_000, source="server", anonymous_id="0" * 40)
    told.run()
    assert told.states(target) == [(seq, "accepted", "", 1), (other, "unasked", "organic", 0)]
    ((_, body, _),) = told.receiver.got
    assert body["data"]["campaign"]["name"] == 'Spring "sale"'


# --- again, later, never


def test_what_fails_is_tried_again_under_the_same_id_and_given_up_when_the_retries_are_spent(told: Postbacks) -> None:
    target = told.webhook(retries=1)
    seq = told.decided()
    told.receiver.answers = [Reply(status=503, body="later")]
    assert told.run().postbacks.failed == 1
    assert told.states(target) == [(seq, "pending", "", 1)]
    told.run()
    assert told.attempts(target) == [("deferred", 503)]  # it waits
    told.now_due()
    told.receiver.answers = [Reply(error="ReadTimeout")]
    told.run()
    assert told.attempts(target) == [("deferred", 503), ("ambiguous", None)]
    assert told.states(target) == [(seq, "given_up", "attempts_spent", 2)]
    assert len({identity for _, _, identity in told.receiver.got}) == 1
    told.ask(target, "retry", seq)
    told.now_due()
    told.run()
    assert told.states(target) == [(seq, "accepted", "", 1)]


def test_another_decision_is_told_under_another_id_and_one_that_tells_the_same_is_not(told: Postbacks) -> None:
    target = told.webhook()
    seq = told.decided(a_decision(None))
    told.run()
    told.decide(seq, a_decision(None), version=2)
    told.run()
    assert len(told.receiver.got) == 1
    told.decide(seq, a_decision(), version=3)
    told.run()
    kinds = [(body["data"]["decision"], body["data"]["version"]) for _, body, _ in told.receiver.got]
    assert kinds == [("organic", 1), ("attributed", 3)]
    assert len({identity for _, _, identity in told.receiver.got}) == 2
    assert told.states(target) == [(seq, "accepted", "", 1)]


def test_it_waits_for_its_delay(told: Postbacks) -> None:
    target = told.webhook(delay_ms=600_000)
    seq = told.decided()
    told.installation.ledger("update decisions set decided_at = ?", 1 << 50)
    told.run()
    assert told.states(target) == [(seq, "pending", "", 0)]
    assert told.installation.ledger("select due_at from postbacks") == [((1 << 50) + 600_000,)]


def test_a_webhook_that_fails_for_long_is_disabled_keeps_what_it_is_owed_and_is_enabled_by_a_person(
    told: Postbacks,
) -> None:
    target = told.webhook(retries=10)
    seqs = [told.decided() for _ in range(3)]
    for _ in range(resolve.IN_A_ROW):
        told.receiver.answers = [Reply(status=500)] * resolve.TRIES_IN_A_RUN
        told.now_due()
        told.run()
    assert len(told.receiver.got) == resolve.IN_A_ROW
    ((at, why),) = told.installation.ledger("select disabled_at, disabled_why from postback_health")
    assert (at > 0, why) == (True, "20 attempts failed in a row, the last with: answer 500")
    assert [state for _, state, _, _ in told.states(target)] == ["pending"] * 3
    seqs.append(told.decided())
    told.receiver.answers = []
    told.now_due()
    told.run()
    assert len(told.receiver.got) == resolve.IN_A_ROW
    assert figures(told)["ours"] == {"pending": 4, "overdue_seconds": 60, "failing": 20, "disabled": 1}
    told.ask(target, "enable")
    told.run()
    assert [(seq, state) for seq, state, _, _ in told.states(target)] == [(seq, "accepted") for seq in seqs]
    assert figures(told)["ours"] == {"pending": 0, "overdue_seconds": 0, "failing": 0, "disabled": 0}


def figures(told: Postbacks) -> dict[str, dict[str, float]]:
    """What the metrics say of each webhook, a minute after the first that waits is due."""
    (due,) = told.installation.ledger("select coalesce(min(due_at), 0) from postbacks where state = 'pending'")
    standing = asyncio.run(Accounts(told.installation.where).look(NOON))
    found: dict[str, dict[str, float]] = {}
    for metric in of_destinations(standing, due[0] + 60_000):
        for sample in metric.samples:
            if sample.name.startswith("footfall_postbacks_"):
                assert sample.labels == {"app": OWNER, "target": sample.labels["target"], "kind": "webhook"}
                figure = sample.name.removeprefix("footfall_postbacks_")
                found.setdefault(sample.labels["target"], {})[figure] = sample.value
    return found


def test_a_webhook_that_is_gone_or_switched_off_gives_up_what_it_is_owed(told: Postbacks) -> None:
    gone, off = told.webhook("gone"), told.webhook("off", delay_ms=0)
    told.decided()
    told.receiver.answers = [Reply(status=410), Reply(status=500)]
    told.run()
    outcomes = sorted([*told.attempts(gone), *told.attempts(off)], key=str)
    assert outcomes == [("deferred", 500), ("refused", 410)]
    (row,) = told.installation.ledger("select target_id from postback_health where disabled_at > 0")
    assert told.installation.ledger("select disabled_why from postback_health where target_id = ?", row[0]) == [
        ("it answers 410: it wants no more",)
    ]

    for target in (gone, off):
        registry(told.installation, lambda db, target=target: targets.remove(db, NOON, target, "ada"))
    told.run()
    assert [(state, reason) for _, state, reason, _ in told.states(gone)] == [("given_up", "removed")]
    assert [(state, reason) for _, state, reason, _ in told.states(off)] == [("given_up", "removed")]


# --- one at a time


@pytest.mark.only("postgresql", "on SQLite the file itself keeps another run out")
def test_a_target_that_another_run_has_is_left_to_it(told: Postbacks) -> None:
    target = told.webhook()
    told.decided()
    told.receiver.answers = [Reply(status=500)]
    told.run()
    told.now_due()
    told.installation.ledger("update postback_health set lease_owner = 'another', lease_until = ?", 1 << 52)
    told.run()
    assert told.attempts(target) == [("deferred", 500)]
    told.installation.ledger("update postback_health set lease_until = 1")
    told.run()
    assert told.attempts(target) == [("deferred", 500), ("accepted", 204)]


def test_a_run_that_lost_its_target_while_it_told_records_nothing_of_it(told: Postbacks) -> None:
    target = told.webhook()
    told.decided()
    told.decided()

    def tell(hook: object, values: dict[str, object], allowed: object) -> Reply:
        told.installation.ledger("update postback_health set lease_owner = 'another', lease_until = ?", 1 << 52)
        return Reply(status=204)

    told.installation.export(tell=tell)
    assert told.attempts(target) == [("open", None)]
    assert [state for _, state, _, _ in told.states(target)] == ["pending", "pending"]


# --- the sums


def test_every_install_that_is_owed_is_accounted_for_and_what_is_missing_is_noticed(told: Postbacks) -> None:
    told.webhook("all", retries=0)
    told.webhook("few", delivery="network")
    told.to_segment()
    early = told.install(received_at=NOON - 60_000)
    told.decide(early)
    told.decided(a_decision(None))
    told.decided()
    told.receiver.answers = [Reply(status=500)] * 2
    told.run()
    told.decided()  # which no run has seen yet
    found = {each.name: each for each in told.installation.balanced().postbacks}
    assert {name: each.owed for name, each in found.items()} == {"all": 3, "few": 3, "main": 3}
    assert {name: each.difference for name, each in found.items()} == {"all": 0, "few": 0, "main": 0}
    assert (found["few"].unasked, found["few"].reasons["unasked"]) == (1, {"organic": 1})
    assert (found["main"].accepted, found["main"].pending) == (2, 1)
    told.installation.ledger("delete from postbacks where state = 'unasked'")
    findings = asyncio.run(balance.examine(told.installation.where))
    assert not findings.balanced
    (line,) = [line for line in findings.lines() if "webhook few" in line]
    assert line.endswith("OFF BY 1")


def test_what_a_dead_run_left_open_is_ambiguous_and_sent_again_under_the_same_id(told: Postbacks) -> None:
    target = told.webhook()
    seq = told.decided()
    told.receiver.answers = [Reply(status=500)]
    told.run()
    told.installation.ledger("update postback_attempts set outcome = 'open', closed_at = null, status = null")
    told.installation.ledger("update postback_health set lease_owner = 'dead', lease_until = 1")
    told.now_due()
    told.run()
    assert told.attempts(target) == [("ambiguous", None), ("accepted", 204)]
    assert told.states(target) == [(seq, "accepted", "", 2)]
    assert len({identity for _, _, identity in told.receiver.got}) == 1


def test_a_target_that_hangs_holds_up_no_other(told: Postbacks) -> None:
    """Its request ends only when all others have been told."""
    others = 20
    slow = told.webhook("slow", url="https://slow.owner.example/")
    for number in range(others - 1):
        told.webhook(f"quick {number:02}")
    told.decided()
    left, done = [others - 1], threading.Event()

    def tell(hook: object, values: dict[str, object], allowed: object) -> Reply:
        if "slow" in hook.url:  # type: ignore[attr-defined]
            return Reply(status=204 if done.wait(PATIENCE_SECONDS) else 500)
        left[0] -= 1
        if not left[0]:
            done.set()
        return Reply(status=204)

    report = told.installation.export(tell=tell)
    assert (report.postbacks.accepted, told.attempts(slow)) == (others, [("accepted", 204)])


def test_a_postback_that_raises_is_tried_again_and_holds_up_no_other_target(told: Postbacks) -> None:
    bad, good = told.webhook("bad", url="https://bad.owner.example/"), told.webhook("good")
    seq = told.decided()

    def tell(hook: object, values: dict[str, object], allowed: object) -> Reply:
        if "bad" in hook.url:  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return Reply(status=204)

    report = told.installation.export(tell=tell)
    assert (report.postbacks.accepted, report.postbacks.failed) == (1, 1)
    assert told.states(good) == [(seq, "accepted", "", 1)]
    assert told.states(bad) == [(seq, "pending", "", 1)]
    assert told.attempts(bad) == [("deferred", None)]


def test_an_install_that_earned_more_than_a_float_holds_up_no_other(told: Postbacks) -> None:
    hook = told.webhook()
    told.decided(details=Details(properties={"revenue": 10**400}))
    told.decided()
    told.run()
    assert [state for _, state, _, _ in told.states(hook)] == ["accepted", "accepted"]


def test_what_another_run_left_open_is_looked_for_once_and_not_before_every_attempt(
    told: Postbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.webhook()
    for _ in range(3):
        told.decided()
    ran: list[str] = []
    lease = delivering._lease

    def watched(connection: Any, *values: Any) -> Any:
        class Watched:
            def execute(self, sql: str, *given: Any) -> Any:
                ran.append(sql)
                return connection.execute(sql, *given)

        return lease(Watched(), *values)  # type: ignore[arg-type]  # it executes

    monkeypatch.setattr(delivering, "_lease", watched)
    assert told.run().postbacks.accepted == 3
    assert sum("postback_ledger.recover" in sql for sql in ran) == 1
