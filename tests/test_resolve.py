"""What an attempt makes of a postback and of its target: back-off, giving up, being disabled. Pure."""

import msgspec
import pytest
from conftest import Cast, Doors
from hypothesis import given
from hypothesis import strategies as st
from shipping_cast import OWNER, a_destination, an_app, an_event

from exporter.resolve import IN_A_ROW, LASTING_MS, MOST_ALONE_MS, Kind, after, kind_of, planned
from store.postbacks import targets
from store.postbacks.delivering import Health, Postback
from wire.postback import Result, install_attributed, is_own
from wire.verdict import Reply, judge
from wire.webhook import judge as judge_webhook

NOW = 1_771_243_200_000
FRESH = Postback(7, 1, "pending", "", NOW, NOW, 1, "told")


def a_target(**fields: object) -> targets.Target:
    made = targets._new(OWNER, "webhook", NOW)
    return msgspec.structs.replace(made, active=True, retries=5, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 2), (3, 5), (4, 10), (5, 30), (10, 720)])
def test_each_retry_waits_longer(attempts: int, minutes: int) -> None:
    target = a_target()
    target = msgspec.structs.replace(target, retries=10)
    found = after(target, FRESH._replace(attempts=attempts), Health(), "deferred", Reply(500), NOW).postback
    assert (found.state, found.due_at - NOW) == ("pending", minutes * 60_000)


def test_what_asks_to_be_left_alone_is() -> None:
    found = after(a_target(), FRESH, Health(), "deferred", Reply(429, retry_after=7_200.0), NOW)
    assert (found.postback.due_at, found.health.not_before) == (NOW + 7_200_000, NOW + 7_200_000)


@given(st.integers(0, 10), st.integers(1, 11))
def test_there_is_one_attempt_more_than_retries(retries: int, attempts: int) -> None:
    target = msgspec.structs.replace(a_target(), retries=retries)
    found = after(target, FRESH._replace(attempts=attempts), Health(), "deferred", Reply(500), NOW).postback
    assert (found.state == "given_up") == (attempts > retries)
    assert found.reason == ("attempts_spent" if attempts > retries else "")


def test_twenty_failures_in_a_row_disable_and_one_success_forgets_them() -> None:
    health = Health()
    for number in range(1, IN_A_ROW):
        health = after(a_target(), FRESH, health, "ambiguous", Reply(error="ReadTimeout"), NOW).health
        assert (health.failures, health.disabled_at) == (number, 0)
    assert health.not_before == NOW + MOST_ALONE_MS
    assert after(a_target(), FRESH, health, "accepted", Reply(204), NOW).health == Health()
    disabled = after(a_target(), FRESH, health, "deferred", Reply(500), NOW)
    assert disabled.health.disabled_why == "20 attempts failed in a row, the last with: answer 500"
    assert disabled.postback.state == "pending"


def test_five_failures_over_three_days_disable_and_one_in_three_days_does_not() -> None:
    slow = Health(failures=4, failing_since=NOW - LASTING_MS)
    assert after(a_target(), FRESH, slow, "deferred", Reply(500), NOW).health.disabled_at == NOW
    quiet = Health(failures=1, failing_since=NOW - LASTING_MS)
    assert after(a_target(), FRESH, quiet, "deferred", Reply(500), NOW).health.disabled_at == 0


def test_what_is_refused_for_what_it_holds_is_given_up_and_tells_nothing_of_the_target() -> None:
    found = after(a_target(), FRESH, Health(failures=3, failing_since=1), "refused", Reply(400), NOW)
    assert (found.outcome, found.postback.state, found.postback.reason) == ("refused", "given_up", "refused_400")
    assert found.health == Health()
    large = after(a_target(), FRESH, Health(), "refused", Reply(error="the body is larger", sent=False), NOW)
    assert (large.postback.state, large.postback.reason) == ("given_up", "oversize")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200, '{"success": true}'), "accepted"),
        (Reply(200, "<html>"), "deferred"),
        (Reply(400), "refused"),
        (Reply(401), "deferred"),
        (Reply(302), "deferred"),
        (Reply(503), "deferred"),
        (Reply(error="ReadTimeout"), "ambiguous"),
        (Reply(error="ConnectTimeout", sent=False), "deferred"),
    ],
)
def test_what_segments_answer_means_for_one_postback(reply: Reply, kind: Kind) -> None:
    assert kind_of(judge(reply)) == kind


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200, "anything"), "accepted"),
        (Reply(204), "accepted"),
        (Reply(302), "deferred"),
        (Reply(400), "deferred"),
        (Reply(410), "gone"),
        (Reply(500), "deferred"),
        (Reply(forbidden="10.0.0.1 is private", sent=False), "deferred"),
        (Reply(error="ReadTimeout"), "ambiguous"),
        (Reply(error="ConnectTimeout", sent=False), "deferred"),
    ],
)
def test_what_a_webhooks_answer_means(reply: Reply, kind: str) -> None:
    assert judge_webhook(reply).kind == kind


@pytest.mark.parametrize(
    ("old", "version", "unasked", "told", "expected"),
    [
        (None, 1, "", "a", ("pending", "", 1)),
        (None, 1, "organic", "a", ("unasked", "organic", 1)),
        (("accepted", 1, "a"), 2, "", "a", None),
        (("accepted", 1, "a"), 2, "", "b", ("pending", "", 2)),
        (("accepted", 1, "a"), 2, "organic", "b", ("unasked", "organic", 2)),
        (("pending", 1, "a"), 2, "", "a", None),
        (("given_up", 1, "a"), 2, "", "b", ("pending", "", 2)),
        (("unasked", 1, "a"), 2, "", "b", ("pending", "", 2)),
        (("accepted", 3, "a"), 2, "", "b", None),
    ],
)
def test_what_a_decision_makes_of_a_postback(
    old: tuple[str, int, str] | None, version: int, unasked: str, told: str, expected: tuple[str, str, int] | None
) -> None:
    before = old and FRESH._replace(state=old[0], version=old[1], told=old[2])  # type: ignore[arg-type]
    found = planned(before or None, 7, version, unasked, told, NOW, NOW)
    assert (found and (found.state, found.reason, found.version)) == expected


# --- the loop


@pytest.mark.only("sqlite", "the rule is no engine's")
def test_our_own_attribution_is_turned_away_at_the_doors_and_another_providers_is_not(cast: Cast, doors: Doors) -> None:
    ((key,),) = cast.rows("select ingest_key from apps where app_key = ?", cast.owner_app, nature="registry")

    def told(properties: dict[str, object], context: dict[str, object], event: str = "Install Attributed") -> int:
        call = {"anonymousId": "a1", "event": event, "properties": properties, "context": context, "writeKey": key}
        return doors.client.post("/v1/track", json=call).status_code

    assert told({"provider": "FOOTFALL"}, {}) == 400
    assert told({}, {"integration": {"name": "footfall"}}) == 400
    assert [reason for _, reason, _ in cast.rejections()] == ["own_attribution"] * 2
    for properties, context in [({"provider": "Adjust"}, {}), ({"provider": None}, {"integration": "x"}), ({}, {})]:
        assert told(properties, context) == 200
    assert told({"provider": "Footfall"}, {}, "Application Installed") == 200
    assert len(cast.events()) == 4


def test_what_leaves_is_known_when_it_comes_back_whatever_the_provider_is_called() -> None:
    result = Result(
        ordinal=1,
        seq=1,
        version=1,
        message_id="00" * 16,
        converted_at=NOW,
        received_at=NOW,
        decided_at=NOW,
        outcome="organic",
    )
    sent = install_attributed(a_target(provider="Acme Ads"), result, an_event("install"), an_app(), a_destination())
    message = msgspec.json.decode(sent)
    assert is_own(message["event"], message["properties"], message["context"])
