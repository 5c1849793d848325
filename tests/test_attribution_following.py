"""The exporter follows the log for attribution: what it keeps, decides, decides anew and forgets, on both engines."""

import itertools
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from attribution_runs import (
    AUTUMN,
    DAY,
    HOUR,
    LATER,
    OWNERS,
    SPRING,
    ask,
    check_sums,
    decided,
    follow,
    installed,
    installs,
    opened,
    set_rules,
    view,
)
from click.testing import CliRunner
from engines import look
from shipping_cast import ACCOUNT, NOON, OWNER, STRANGER, Details, Installation, an_event

import footfall
from attribution import explaining
from attribution.decision import WHOLE
from exporter import turn
from store.attribution import reading
from store.attribution.balance import Balance, count
from store.attribution.reading import Listing, Wanted
from store.doctor.checks import attribution as attribution_check
from store.errors import Conflict
from store.event import PARTNER, Event
from store.subjects.naming import DEVICES, OURS, PREVIOUS


def test_an_install_is_attributed_and_explained(installation: Installation) -> None:
    installation.collect(view(SPRING, NOON - 2 * DAY), view(AUTUMN), installed(user_id=ACCOUNT))
    sums = follow(installation)
    assert (sums.apps, sums.events, sums.touchpoints, sums.installs, sums.attributed) == (1, 3, 2, 1, 1)
    (install,) = installs(installation)
    assert (install.outcome, install.reason, install.campaign_key) == ("attributed", "visitor", "mail/autumn")
    assert (install.told_by, install.version, install.open) == ("marketplace", 1, True)
    (made,) = decided(installation, install.seq)
    assert made.winner is not None
    assert made.winner.seq == 2
    assert [(each.touchpoint.campaign.key, each.reason) for each in made.influencers] == [("mail/spring", "older")]
    shares = ask(installation, reading.shares, OWNERS, 0, 30_000)
    assert {(each.model, each.campaign_key): each.credit for each in shares if each.model in ("linear", "decided")} == {
        ("decided", "mail/autumn"): WHOLE,
        ("linear", "mail/autumn"): WHOLE // 2,
        ("linear", "mail/spring"): WHOLE // 2,
    }
    check_sums(installation)
    assert ask(installation, reading.installs, Listing(OWNER, "stranger"), Wanted()) == []


def test_a_second_run_finds_nothing_to_do_and_changes_nothing(installation: Installation) -> None:
    installation.collect(view(SPRING), installed())
    follow(installation)
    before = installation.ledger("select * from decisions")
    again = follow(installation)
    assert (again.apps, again.events, again.again) == (0, 0, 0)
    assert installation.ledger("select * from decisions") == before


def test_apps_without_a_destination_are_followed_and_of_each_only_its_own(installation: Installation) -> None:
    (other,) = installation.add_apps(1, with_keys=False)
    installation.collect(view(SPRING))
    installation.collect(installed(), app=other)
    installation.collect(installed(), app=STRANGER)
    sums = follow(installation)
    assert (sums.apps, sums.installs, sums.organic) == (3, 2, 2)


def test_a_run_of_the_exporter_attributes_and_tells_of_it(installation: Installation) -> None:
    installation.collect(view(SPRING), installed())
    report = installation.export()
    assert report.attribution is not None
    assert (report.attribution.installs, report.attribution.attributed) == (1, 1)
    assert "1 installs: 1 attributed, 0 organic" in report.summary()


def test_a_run_that_decides_anew_tells_what_changed(installation: Installation) -> None:
    installation.collect(installed())
    follow(installation)
    installation.collect(view(SPRING, received_at=NOON + HOUR), installed(NOON + HOUR))
    summary = follow(installation, NOON + HOUR).summary()
    assert summary == "; 1 installs, 1 decided anew: +1 attributed, -1 organic, +1 reinstalls"


def test_late_evidence_decides_anew_and_both_decisions_are_kept(installation: Installation) -> None:
    installation.collect(installed(), installed(NOON, anonymous_id="b" * 40))
    follow(installation)
    assert [each.outcome for each in installs(installation)] == ["organic", "organic"]
    late = NOON + 72 * HOUR
    installation.collect(view(SPRING, received_at=late))
    sums = follow(installation, late)
    assert (sums.again, sums.attributed, sums.organic) == (1, 1, -1)
    made = ask(installation, reading.history, OWNER, 1)
    assert [(each.version, each.cause, each.cause_seq) for each in made] == [(2, "evidence", 3), (1, "install", 1)]
    assert [each.outcome for each in decided(installation, 1)] == ["attributed", "organic"]
    assert [each.ordinal for each in made] == [3, 1]
    check_sums(installation)


def test_what_comes_later_than_that_changes_nothing_and_the_install_is_closed(installation: Installation) -> None:
    installation.collect(installed())
    installation.collect(view(SPRING, received_at=NOON + 72 * HOUR + 1))
    sums = follow(installation, LATER)
    assert (sums.closed, sums.again) == (1, 0)
    (install,) = installs(installation)
    assert (install.outcome, install.open, install.version) == ("organic", False, 1)
    installation.collect(view(SPRING, received_at=LATER))
    follow(installation, LATER)
    assert [each.outcome for each in installs(installation)] == ["organic"]


def test_time_alone_closes_an_install(installation: Installation) -> None:
    installation.collect(installed())
    assert follow(installation, NOON + HOUR).closed == 0
    assert follow(installation, NOON + 71 * HOUR).apps == 0
    assert follow(installation, NOON + 73 * HOUR).closed == 1


def test_marketplace_and_partner_tell_of_one_install_and_a_device_is_known_for_ever(installation: Installation) -> None:
    ids = Details(ids={"idfa": "AB-1"})
    installation.collect(
        view(SPRING, partner_anonymous_id="p1"),
        installed(partner_anonymous_id="p1"),
        opened(NOON + HOUR, partner_anonymous_id="p1", details=ids),
    )
    follow(installation)
    installation.collect(opened(NOON + 400 * DAY, anonymous_id="p2", partner_anonymous_id="p2", details=ids))
    follow(installation, NOON + 400 * DAY)
    found = {each.seq: (each.outcome, each.reason) for each in installs(installation)}
    assert found == {
        2: ("attributed", "visitor"),
        3: ("told_again", "known_device"),
        4: ("reinstall", "known_device"),
    }
    check_sums(installation)


def test_ids_of_who_told_again_are_evidence_for_the_install(installation: Installation) -> None:
    claim = {"provider": "Apple", "source": "iAd", "id": "4", "click_date": "2026-02-15T12:00Z"}
    installation.collect(installed(partner_anonymous_id="p1"))
    follow(installation)
    ids = {"idfa": "AB-1"}
    installation.collect(opened(NOON + HOUR, partner_anonymous_id="p1", details=Details(ids=ids)))
    told = an_event(
        "Opened",
        source=PARTNER,
        anonymous_id="p9",
        received_at=NOON + 2 * HOUR,
        occurred_at=NOON + 2 * HOUR,
        details=Details(ids=ids, campaign=claim),
    )
    installation.collect(told)
    follow(installation)
    found = {each.seq: (each.outcome, each.reason, each.campaign_key) for each in installs(installation)}
    assert found == {1: ("attributed", "claim", "iad/4"), 2: ("told_again", "known_device", "")}
    check_sums(installation)


def test_rules_are_the_campaigns_then_the_apps_then_the_marketplaces(installation: Installation) -> None:
    set_rules(installation, app="", click=HOUR, settle=2 * HOUR)
    set_rules(installation, click=2 * DAY)
    set_rules(installation, campaign="mail/autumn", click=0)
    installation.collect(view(AUTUMN, NOON - 60_000), view(SPRING, NOON - DAY), installed())
    follow(installation)
    (made,) = decided(installation, 3)
    assert made.campaign_key == "mail/spring"
    assert (made.match and made.match.set_by, made.rules.settle) == ("app", 2 * HOUR)
    assert [(each.reason, each.match.set_by) for each in made.influencers] == [("outside_window", "campaign")]
    set_rules(installation, unset=("click",))
    installation.collect(view(SPRING, NOON - DAY, anonymous_id="b" * 40), installed(anonymous_id="b" * 40))
    follow(installation)
    assert [each.outcome for each in decided(installation, 5)] == ["organic"]


def test_an_event_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.collect(view({"utm_source": "boom"}), view(SPRING), installed())
    from attribution import campaigns

    plain = campaigns.from_parts

    def bad(parts: Any) -> Any:
        if parts.get("utm_source") == "boom":
            raise ZeroDivisionError
        return plain(parts)

    monkeypatch.setattr(campaigns, "from_parts", bad)
    sums = follow(installation)
    assert (sums.parked, sums.attributed) == (1, 1)
    parked = ask(installation, reading.parked, OWNER)
    assert [(each.seq, each.reason) for each in parked] == [(1, "raised_ZeroDivisionError")]


def test_an_event_that_cannot_be_recorded_is_set_aside_and_the_others_go_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.collect(*[view(SPRING)] * 3, view({"utm_source": "boom"}), installed(), *[view(SPRING)] * 3)
    plain = turn.take

    def bad(connection: Any, cursor: Any, run: str, work: turn.Work, now: int) -> Any:
        if any(touchpoint.campaign.source == "boom" for touchpoint, _ in work.touchpoints):
            raise ZeroDivisionError
        return plain(connection, cursor, run, work, now)

    monkeypatch.setattr(turn, "take", bad)
    sums = follow(installation)
    assert (sums.failed, sums.parked, sums.attributed, sums.events) == (0, 1, 1, 8)
    parked = ask(installation, reading.parked, OWNER)
    assert [(each.seq, each.reason) for each in parked] == [(4, "raised_ZeroDivisionError")]


def test_what_may_not_be_passed_on_and_what_was_another_partners_counts_nowhere(installation: Installation) -> None:
    installation.collect(
        view(SPRING, suppressed="gpc"),
        installed(suppressed="consent"),
        view(SPRING, partner_key="someone"),
        installed(partner_key="someone"),
        installed(),
    )
    follow(installation)
    assert [(each.seq, each.outcome) for each in installs(installation)] == [(5, "organic")]


def test_touchpoints_go_when_no_install_can_count_them(installation: Installation) -> None:
    installation.collect(view(SPRING), view(AUTUMN), installed())
    follow(installation)
    assert installation.ledger("select count(*) from touchpoints") == [(2,)]
    sums = follow(installation, NOON + 70 * DAY)
    assert (sums.forgotten, sums.closed) == (2, 1)
    assert installation.ledger("select * from touchpoints") == []
    assert installation.ledger("select * from touchpoint_identities") == []
    assert installation.ledger("select due_at from attribution_cursors") == [(0,)]


def test_an_install_is_listed_by_time_outcome_and_campaign_page_by_page(installation: Installation) -> None:
    people = [f"{n:040x}" for n in range(1, 7)]
    installation.collect(*[view(SPRING, anonymous_id=who) for who in people[:3]])
    installation.collect(*[installed(NOON + n, anonymous_id=who) for n, who in enumerate(people)])
    follow(installation)
    newest = installs(installation)
    assert [each.seq for each in newest] == [9, 8, 7, 6, 5, 4]
    first = ask(installation, reading.installs, OWNERS, Wanted(), (1 << 60, 0), 2)
    rest = ask(installation, reading.installs, OWNERS, Wanted(), (first[-1].converted_at, first[-1].seq), 9)
    assert [*first, *rest] == newest
    assert [each.seq for each in installs(installation, outcome="organic")] == [9, 8, 7]
    assert [each.seq for each in installs(installation, campaign_key="mail/spring")] == [6, 5, 4]
    assert installs(installation, campaign_key="mail/spring", outcome="organic") == []
    assert [each.seq for each in installs(installation, since=NOON + 1, until=NOON + 3)] == [6, 5]
    assert ask(installation, reading.install, OWNERS, 9) == newest[0]
    assert ask(installation, reading.install, OWNERS, 1) is None
    assert ask(installation, reading.outcomes, OWNERS, 0, 30_000) == {"attributed": 3, "organic": 3}


def test_an_install_of_nobody_who_can_be_known_again_is_an_install(installation: Installation) -> None:
    installation.collect(installed(anonymous_id="0" * 40), installed(anonymous_id="0" * 40))
    assert follow(installation).organic == 2
    check_sums(installation)


def balance(installation: Installation) -> list[Balance]:
    found: list[Balance] = ask(installation, count)
    return found


def test_the_sums_are_checked_against_the_installs(installation: Installation) -> None:
    installation.collect(view(SPRING), installed(), installed(NOON + HOUR), installed(anonymous_id="b" * 40))
    follow(installation)
    assert balance(installation) == [Balance(OWNER, 3, 1, 1, 1)]
    installation.ledger("update attribution_sums set credit = credit + 1 where model = 'linear' and campaign_key = ''")
    assert [each.models for each in balance(installation)] == [("linear",)]
    assert attribution_check(balance(installation)).level == "FAIL"
    installation.ledger("update attribution_sums set credit = credit - 1 where model = 'linear' and campaign_key = ''")
    assert attribution_check(balance(installation)).text == (
        "attribution: conversions 3 = 1 attributed + 1 organic + 1 reinstalls"
    )
    installation.ledger("delete from attribution_days where outcome = 'reinstall'")
    assert attribution_check(balance(installation)).text == f"attribution: the sums are off: {OWNER}"


def test_every_kind_of_id_has_words() -> None:
    for kind in [*OURS, PREVIOUS, *DEVICES]:
        assert not explaining.known_by(kind).startswith("the link"), kind
    assert explaining.known_by("idfa_sha1") == "Apple's advertising id, hashed"
    assert [explaining.known_by(kind) for kind in ("crm", "link user")] == ["the link crm", "the link user"]


@pytest.mark.only("sqlite", "what is said of an install knows no engine")
def test_a_decision_is_explained_in_sentences(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = installation.collect(installed())
    follow(installation)
    installation.collect(view(SPRING, NOON - 2 * DAY, received_at=NOON + HOUR))
    installation.collect(view(AUTUMN, NOON - DAY, received_at=NOON + HOUR))
    follow(installation)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    said = CliRunner().invoke(footfall.main, ["attribution", "explain", OWNER, first])
    assert said.exit_code == 0
    lines = [line.strip() for line in said.output.splitlines()]
    assert lines[0] == "install at 2026-02-16 12:00:00 UTC, told by the marketplace"
    assert lines[2:5] == [
        "attributed to mail/autumn, a click at 2026-02-15 12:00:00 UTC:"
        " known by the visitor's id, within 30d (default)",
        "not mail/spring, a click at 2026-02-14 12:00:00 UTC: the winner was later",
        "changed: outcome, reason, winner, match, path, 2 more touchpoints",
    ]
    assert lines[-1] == "organic: nobody is known to have met a campaign before it"
    told = CliRunner().invoke(footfall.main, ["attribution", "explain", OWNER, first, "--json"])
    assert [each["version"] for each in json.loads(told.output)["decisions"]] == [2, 1]
    nobodys = CliRunner().invoke(footfall.main, ["attribution", "explain", OWNER, "nothing"])
    assert nobodys.exit_code == 78


@pytest.mark.only("sqlite", "the registry's statements are tried on both by those that follow the rules")
def test_rules_are_set_and_shown_and_the_audit_tells_of_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)

    def say(*words: str) -> Any:
        done = CliRunner().invoke(footfall.main, ["attribution", *words, "--json"])
        return json.loads(done.output) if done.exit_code == 0 else done.exit_code

    assert say("show")["click"] == "30d (default)"
    assert say("set", "--view", "90min")["view"] == "90min (marketplace)"
    assert say("set", "--app", OWNER, "--click", "14d", "--by-network")["by_network"] == "on (app)"
    assert say("set", "--app", OWNER, "--campaign", "mail/spring", "--click", "0")["mail/spring"] == "click 0"
    shown = say("show", "--app", OWNER)
    assert (shown["click"], shown["view"], shown["settle"]) == ("14d (app)", "90min (marketplace)", "3d (default)")
    assert say("set", "--app", OWNER, "--unset", "by-network")["by_network"] == "off (default)"
    wrong = [("--click", "91d"), ("--view", "soon"), ("--unset", "everything"), ("--app", "nobody", "--click", "1d")]
    wrong += [("--campaign", "x", "--click", "1d"), ("--app", OWNER, "--campaign", "x", "--settle", "1d")]
    assert [say("set", *words) for words in wrong] == [78] * len(wrong)
    audit = "select action, subject, detail, partner_key from audit where action like '%.attribution' order by audit_id"
    assert look(installation.where, "registry", audit) == [
        ("marketplace.attribution", "every app", "view 90min", None),
        ("app.attribution", OWNER, "click 14d, by_network on", "owner"),
        ("app.attribution", OWNER, "mail/spring: click 0", "owner"),
        ("app.attribution", OWNER, "by_network unset", "owner"),
    ]


@pytest.mark.only("postgresql", "where the ledger is held alone, whoever has a lease is dead")
def test_a_lease_of_another_run_is_left_alone(installation: Installation) -> None:
    installation.collect(installed())
    follow(installation)
    installation.collect(installed(anonymous_id="b" * 40))
    installation.ledger("update attribution_cursors set lease_owner = 'other', lease_until = 9000000000000000")
    sums = follow(installation)
    assert (sums.taken, sums.installs) == (1, 0)
    installation.ledger("update attribution_cursors set lease_until = 0")
    assert follow(installation).installs == 1


# --- killed


@pytest.mark.only("sqlite", "the transaction is the engine's; that it is one is seen on either")
@pytest.mark.parametrize("point", ["before_attribution", "after_attribution"])
def test_a_run_that_is_killed_loses_nothing_and_counts_nothing_twice(installation: Installation, point: str) -> None:
    people = [f"{n:040x}" for n in range(1, 41)]
    for who in people:
        installation.collect(*[view(SPRING, anonymous_id=who)] * 99, installed(anonymous_id=who))
    command = [sys.executable, "-m", "footfall", "export"]
    for _ in range(2):  # two transactions' worth of events
        died = subprocess.run(
            command,
            env=installation.environment | {"FOOTFALL_TEST": "1", "FOOTFALL_TEST_CRASH_AT": point},
            capture_output=True,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        check_sums(installation)
    follow(installation)
    assert [(each.outcome, each.version) for each in installs(installation)] == [("attributed", 1)] * 40
    assert installation.ledger("select count(*) from touchpoints") == [(40 * 99,)]
    check_sums(installation)


# --- whatever the order

WHO = ["a" * 40, "b" * 40, "c" * 40]


def told(n: int) -> list[Event]:
    """A small story of three people, whose events may come in any order."""
    return [
        view(SPRING, NOON - 2 * DAY, anonymous_id=WHO[0]),
        view(AUTUMN, NOON - DAY, anonymous_id=WHO[0], partner_anonymous_id="p1"),
        installed(NOON, anonymous_id=WHO[0], user_id=ACCOUNT),
        opened(NOON + HOUR, partner_anonymous_id="p1", details=Details(ids={"idfa": "d1"})),
        installed(NOON + 2 * DAY, anonymous_id=WHO[1], user_id=ACCOUNT),
        opened(NOON - HOUR, anonymous_id="p2", partner_anonymous_id="p2", details=Details(ids={"idfa": "d2"})),
        view({"gclid": "x"}, NOON - 3 * DAY, anonymous_id=WHO[2], partner_anonymous_id="p2"),
    ][:n]


@pytest.mark.parametrize("order", list(itertools.islice(itertools.permutations(range(7)), 0, 5040, 1_260)), ids=str)
def test_in_whichever_order_evidence_comes_the_decisions_are_the_same(
    installation: Installation, order: tuple[int, ...]
) -> None:
    events = told(7)
    received = NOON + DAY
    for place in order:
        event = events[place]
        installation.collect(an_event(event.name, event.details, **_fields(event) | {"received_at": received}))
        follow(installation, received)
        check_sums(installation)
    seqs = {place: seq for seq, place in enumerate(order, 1)}
    found = {each.seq: (each.outcome, each.campaign_key) for each in installs(installation)}
    assert {place: found[seqs[place]] for place in (2, 3, 4, 5)} == {
        2: ("attributed", "mail/autumn"),
        3: ("told_again", ""),
        4: ("reinstall", ""),
        5: ("attributed", "google"),
    }


def _fields(event: Event) -> dict[str, Any]:
    names = ("source", "occurred_at", "anonymous_id", "user_id", "partner_anonymous_id")
    return {name: getattr(event, name) for name in names}


def test_a_claim_of_an_impossible_time_holds_up_no_install(installation: Installation) -> None:
    late = Details(campaign={"source": "mail", "name": "spring", "click_date": "9" * 30})
    installation.collect(opened(details=late), opened(anonymous_id="p2"))
    sums = follow(installation)
    assert (sums.failed, sums.parked, sums.installs, sums.attributed) == (0, 0, 2, 1)
    check_sums(installation)


def test_what_one_apps_rows_do_not_allow_holds_up_no_other(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.collect(installed(), app=OWNER)
    installation.collect(installed(), app=STRANGER)
    take = turn.take

    def fail(connection: Any, cursor: Any, *rest: Any) -> Any:
        if cursor.app_key == OWNER:
            raise Conflict("a row breaks a rule of its table")
        return take(connection, cursor, *rest)

    monkeypatch.setattr(turn, "take", fail)
    sums = follow(installation)
    assert (sums.failed, sums.installs) == (1, 1)
