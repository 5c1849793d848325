"""Deciding which campaign brought an install: windows, evidence, recency, and what becomes of those that lose."""

from typing import Any

import pytest
from attribution_cast import DAY, HOUR, NOON, install, touch
from hypothesis import given
from hypothesis import strategies as st

from attribution.deciding import decide, level_of, standings
from attribution.decision import Decision, decode, encode
from attribution.evidence import identity
from attribution.explaining import sentences
from attribution.rules import Rules, Windows
from collector.doors.calls import DEVICE_IDS

RULES = Rules()
GUESSED = Rules(by_network=True)


def won(decision: Decision) -> str:
    return decision.winner.campaign.name if decision.winner else ""


def lost(decision: Decision) -> dict[str, str]:
    return {each.touchpoint.campaign.name: each.reason for each in decision.influencers}


ALL = ("anonymous:a", "account:u", "idfa:d", "network:n")


@pytest.mark.parametrize(
    ("touches", "winner", "losers"),
    [
        ([], "", {}),
        ([touch("spring", DAY)], "spring", {}),
        ([touch("spring", DAY, "anonymous:else")], "", {}),
        ([touch("spring", 30 * DAY)], "spring", {}),
        ([touch("spring", 30 * DAY + 1)], "", {"spring": "outside_window"}),
        ([touch("spring", -1)], "", {"spring": "after_conversion"}),
        ([touch("seen", 24 * HOUR, kind="view")], "seen", {}),
        ([touch("seen", 24 * HOUR + 1, kind="view")], "", {"seen": "outside_window"}),
        ([touch("older", 2 * DAY), touch("newer", DAY)], "newer", {"older": "older"}),
        ([touch("clicked", 9 * DAY), touch("seen", HOUR, kind="view")], "clicked", {"seen": "view"}),
        ([touch("device", 2 * DAY, "idfa:d"), touch("visitor", DAY)], "device", {"visitor": "weaker_match"}),
        ([touch("account", 2 * DAY, "account:u"), touch("visitor", DAY)], "account", {"visitor": "weaker_match"}),
        (
            [touch("device", 2 * DAY, "idfa:d"), touch("account", DAY, "account:u")],
            "device",
            {"account": "weaker_match"},
        ),
        (
            [touch("apple", 5 * DAY, origin="apple"), touch("device", DAY, "idfa:d")],
            "apple",
            {"device": "weaker_match"},
        ),
        ([touch("apple", -DAY, origin="apple", timed=False)], "apple", {}),
        ([touch("guess", DAY, "network:n")], "", {"guess": "not_allowed"}),
        (
            [touch("a", DAY), touch("a", 2 * DAY), touch("b", 3 * DAY), touch("old", 40 * DAY)],
            "a",
            {"a": "duplicate", "b": "older", "old": "outside_window"},
        ),
    ],
)
def test_who_wins_and_why_the_others_lose(touches: list[Any], winner: str, losers: dict[str, str]) -> None:
    decision = decide(install(*ALL), touches, RULES)
    assert (won(decision), lost(decision)) == (winner, losers)


def test_of_a_claim_without_a_time_none_is_told() -> None:
    (said,) = sentences(decide(install(), [touch("spring", -HOUR, timed=False)], RULES))
    assert said.startswith("attributed to mail/spring, a click, nobody says when: known by the visitor's id, within ")


@pytest.mark.parametrize("form", ["", "_md5", "_sha1", "_sha256"])
def test_every_id_of_a_device_is_one_and_so_is_its_hash(form: str) -> None:
    for kind in DEVICE_IDS:
        assert level_of(identity(kind + form, "x")) == "device", kind
    assert level_of(identity("link idfa", "x")) == "account"


@pytest.mark.parametrize(
    ("touches", "outcome", "reason"),
    [
        ([], "organic", "no_touchpoint"),
        ([touch("spring", 31 * DAY)], "organic", "outside_window"),
        ([touch("spring", DAY, "account:u")], "attributed", "account"),
        ([touch("spring", DAY, "adid:x", "link fb:f")], "organic", "no_touchpoint"),
        ([touch("spring", DAY, origin="play")], "attributed", "claim"),
    ],
)
def test_an_outcome_has_a_reason(touches: list[Any], outcome: str, reason: str) -> None:
    decision = decide(install(*ALL), touches, RULES)
    assert (decision.outcome, decision.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("touches", "winner", "losers"),
    [
        ([touch("guess", 7 * DAY, "network:n", "anonymous:x")], "guess", {}),
        ([touch("guess", 7 * DAY + 1, "network:n", "anonymous:x")], "", {"guess": "outside_window"}),
        (
            [touch("guess", HOUR, "network:n", "anonymous:x"), touch("known", DAY)],
            "known",
            {"guess": "weaker_match"},
        ),
        (
            [touch("one", HOUR, "network:n", "anonymous:x"), touch("two", DAY, "network:n", "anonymous:y")],
            "",
            {"one": "ambiguous", "two": "ambiguous"},
        ),
        (
            [touch("one", HOUR, "network:n", "anonymous:x"), touch("two", DAY, "network:n", "anonymous:x")],
            "one",
            {"two": "older"},
        ),
        ([touch("guess", HOUR, "network:n", "idfa:other")], "", {"guess": "other_device"}),
        (
            [touch("one", HOUR, "network:n", "anonymous:x"), touch("two", 8 * DAY, "network:n", "anonymous:y")],
            "one",
            {"two": "outside_window"},
        ),
    ],
)
def test_address_and_agent_alone_need_a_rule_one_candidate_and_no_better_evidence(
    touches: list[Any], winner: str, losers: dict[str, str]
) -> None:
    decision = decide(install(*ALL), touches, GUESSED)
    assert (won(decision), lost(decision)) == (winner, losers)


def test_a_campaigns_own_window_comes_before_the_apps_and_the_decision_tells_whose_it_was() -> None:
    rules = Rules(click=DAY, set_by={"click": "app"}, campaigns={"mail/spring": Windows(click=3 * DAY)})
    decision = decide(install(), [touch("spring", 2 * DAY), touch("other", 2 * DAY)], rules)
    assert (won(decision), lost(decision)) == ("spring", {"other": "outside_window"})
    assert decision.match is not None
    assert (decision.match.length, decision.match.set_by) == (3 * DAY, "campaign")
    assert (decision.influencers[0].match.length, decision.influencers[0].match.set_by) == (DAY, "app")


def test_a_window_of_nothing_lets_nothing_count() -> None:
    assert lost(decide(install(), [touch("spring", 0)], Rules(click=0))) == {"spring": "outside_window"}


def test_repeats_of_a_campaign_are_one_stay_and_guesses_are_none_beside_what_is_known() -> None:
    touches = [
        touch("a", 5 * DAY),
        touch("a", 4 * DAY),
        touch("b", 3 * DAY),
        touch("a", 2 * DAY),
        touch("guess", DAY, "network:n", "anonymous:x"),
    ]
    path = decide(install(*ALL), touches, GUESSED).path
    assert [(step.campaign_key, NOON - step.at) for step in path] == [
        ("mail/a", 4 * DAY),
        ("mail/b", 3 * DAY),
        ("mail/a", 2 * DAY),
    ]


def test_no_more_influencers_are_kept_than_anybody_reads_and_the_others_are_counted() -> None:
    decision = decide(install(), [touch(f"c{n}", n * HOUR) for n in range(60)], RULES)
    assert (won(decision), len(decision.influencers), decision.left_out) == ("c0", 50, 9)


def test_a_decision_is_the_same_when_it_is_read_again() -> None:
    rules = Rules(click=DAY, set_by={"click": "app"}, campaigns={"mail/spring": Windows(click=3 * DAY)})
    decision = decide(install(), [touch("spring", 2 * DAY), touch("other", 2 * DAY)], rules)
    assert decode(encode(decision)) == decision


# --- which installs are one


def said(installs: list[Any], rules: Rules = RULES) -> list[str]:
    found = standings(installs, rules)
    return [found[each.seq].repeats or ("again" if found[each.seq].reprocessed else "first") for each in installs]


@pytest.mark.parametrize(
    ("after", "sources", "reprocess", "expected"),
    [
        ([0], "m", 0, ["first"]),
        ([0, DAY], "mm", 0, ["first", "reinstall"]),
        ([0, DAY], "mp", 0, ["first", "told_again"]),
        ([0, DAY], "pm", 0, ["first", "told_again"]),
        ([0, 4 * DAY], "mp", 0, ["first", "reinstall"]),
        ([0, DAY, 2 * DAY], "mpp", 0, ["first", "told_again", "reinstall"]),
        ([0, 400 * DAY], "mm", 0, ["first", "reinstall"]),
        ([0, 400 * DAY], "mm", 90 * DAY, ["first", "again"]),
        ([0, 89 * DAY, 90 * DAY], "mmm", 90 * DAY, ["first", "reinstall", "again"]),
        ([0, 90 * DAY, 91 * DAY], "mmp", 90 * DAY, ["first", "again", "told_again"]),
        ([DAY, 0], "mm", 0, ["reinstall", "first"]),
    ],
)
def test_an_install_is_the_first_of_somebody_or_a_reinstall(
    after: list[int], sources: str, reprocess: int, expected: list[str]
) -> None:
    names = {"m": "marketplace", "p": "partner"}
    installs = [
        install(at=NOON + ago, source=names[source], seq=n)  # type: ignore[arg-type]
        for n, (ago, source) in enumerate(zip(after, sources, strict=True), 1)
    ]
    assert said(installs, Rules(reprocess=reprocess)) == expected


def test_a_reinstall_has_no_campaign_and_says_what_it_has_in_common() -> None:
    installs = [install("idfa:d", "account:u", at=NOON - DAY, seq=1), install("idfa:d", "anonymous:a", seq=2)]
    standing = standings(installs, RULES)[2]
    decision = decide(installs[1], [touch("spring", HOUR)], RULES, standing)
    assert (decision.outcome, decision.reason, decision.first) == ("reinstall", "known_device", f"{1:032x}")
    assert decision.winner is None


def test_what_came_before_the_first_install_does_not_bring_the_next() -> None:
    installs = [install(at=NOON - 20 * DAY, seq=1), install(seq=2)]
    rules = Rules(reprocess=10 * DAY)
    touches = [touch("used", 25 * DAY), touch("new", 5 * DAY)]
    decision = decide(installs[1], touches, rules, standings(installs, rules)[2])
    assert (won(decision), lost(decision)) == ("new", {"used": "before_first_install"})
    assert (decision.reprocessed, decision.first) == (True, f"{1:032x}")
    organic = decide(installs[1], touches[:1], rules, standings(installs, rules)[2])
    assert (organic.outcome, organic.reason) == ("organic", "before_first_install")


# --- whatever the order

ids = st.lists(st.sampled_from(["anonymous:a", "anonymous:b", "account:u", "idfa:d", "network:n"]), min_size=1)
touches = st.builds(
    lambda name, ago, ids, kind, origin, timed: touch(name, ago, *ids, kind=kind, origin=origin, timed=timed),
    st.sampled_from("abc"),
    st.sampled_from([-HOUR, 0, HOUR, DAY, DAY + 1, 7 * DAY, 30 * DAY, 31 * DAY]),
    ids,
    st.sampled_from(["click", "view"]),
    st.sampled_from(["listing", "partner", "apple", "play"]),
    st.booleans(),
)


@given(st.lists(touches, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_evidence_changes_nothing(found: list[Any], chance: Any, by_network: bool) -> None:
    once = list(dict.fromkeys(found))
    shuffled = list(once)
    chance.shuffle(shuffled)
    one = install("anonymous:a", "account:u", "idfa:d", "network:n")
    assert decide(one, once, Rules(by_network=by_network)) == decide(one, shuffled, Rules(by_network=by_network))


installs = st.lists(
    st.builds(lambda at, source: (at, source), st.integers(0, 10), st.sampled_from(["marketplace", "partner"])),
    max_size=8,
)


@given(installs, st.randoms(use_true_random=False), st.sampled_from([0, 2 * DAY]))
def test_the_order_of_installs_changes_nothing_and_one_of_them_is_first(
    given: list[Any], chance: Any, reprocess: int
) -> None:
    made = [install(at=NOON + day * DAY, source=source, seq=n) for n, (day, source) in enumerate(given)]
    shuffled = list(made)
    chance.shuffle(shuffled)
    rules = Rules(reprocess=reprocess)
    found = standings(made, rules)
    assert found == standings(shuffled, rules)
    assert sum(not each.repeats and not each.reprocessed for each in found.values()) == (1 if made else 0)
