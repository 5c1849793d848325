"""Address and agent as evidence: which addresses say anything, when a hash is kept, and what is decided by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attribution_cast import event as an_event
from conftest import LISTING, OTHER_VISITOR, VISITOR, Cast, Doors, iso, view
from kochava_cast import INSTALL, call, post
from shipping_cast import Silence
from starlette.testclient import TestClient
from test_segment_door import key_of
from test_segment_webhook import guid_of
from test_segment_webhook import post as pass_on
from waiting import until

from attribution import decision
from attribution.decision import Decision
from collector.app import Collector
from collector.directory import Directory
from collector.doors.listing import Facts, Judge
from collector.network import mark, place
from collector.portal.event import stored
from exporter.attributing import Attributing
from store import log, registry
from store.attribution import reading
from store.attribution.rules import MARKETPLACE, Change, set_rules
from store.engines import open_reader, open_writer
from store.rollups.following import catch_up
from store.secrets import Vault

ADDRESS, NEIGHBOUR = "81.2.69.142", "81.2.69.143"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1)"
CHARTS, BOARDS = "com.owner.charts", "com.owner.boards"
YES = {"measurement": True, "sharing": True}
AGREED = {"categoryPreferences": {"Advertising": True}}
GDPR = {"gdpr_applies": 1, "ad_user_data": 1, "ad_personalization": 1}
only_sqlite = pytest.mark.only("sqlite", "what is kept is decided before it comes to a store")

# --- which addresses


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("81.2.69.142", "81.2.69.142"),
        (" 81.2.69.142 ", "81.2.69.142"),
        ("::ffff:81.2.69.142", "81.2.69.142"),
        ("2a02:6b8:7:42::17", "2a02:6b8:7:42::/64"),
        ("2A02:06B8:0007:0042:ffff:ffff:ffff:ffff", "2a02:6b8:7:42::/64"),
        ("2a02:6b8:7:43::17", "2a02:6b8:7:43::/64"),
        ("", ""),
        ("unknown", ""),
        ("69.224.141.777", ""),
        ("81.2.69.142:4711", ""),
        ("081.2.69.142", ""),
        ("1359103374", ""),
        ("81.2.69.0/24", ""),
        ("0.0.0.0", ""),  # noqa: S104 - nothing is bound to it
        ("0.1.2.3", ""),
        ("10.1.2.3", ""),
        ("100.64.0.1", ""),
        ("100.127.255.254", ""),
        ("127.0.0.1", ""),
        ("169.254.169.254", ""),
        ("172.16.0.1", ""),
        ("192.0.0.8", ""),
        ("192.0.2.1", ""),
        ("192.88.99.1", ""),
        ("192.168.1.1", ""),
        ("198.18.0.1", ""),
        ("198.51.100.7", ""),
        ("203.0.113.9", ""),
        ("224.0.0.1", ""),
        ("240.0.0.1", ""),
        ("255.255.255.255", ""),
        ("::", ""),
        ("::1", ""),
        ("::81.2.69.142", ""),
        ("::ffff:10.1.2.3", ""),
        ("::ffff:100.64.0.1", ""),
        ("64:ff9b::5102:458e", ""),
        ("100::1", ""),
        ("2001::1", ""),
        ("2001:db8::1", ""),
        ("2002:5102:458e::1", ""),
        ("3fff::1", ""),
        ("5f00::1", ""),
        ("fc00::1", ""),
        ("fd12:3456::1", ""),
        ("fe80::1", ""),
        ("fe80::1%eth0", ""),
        ("fec0::1", ""),
        ("ff02::1", ""),
    ],
)
def test_an_address_says_something_only_when_it_is_public(address: str, kept: str) -> None:
    assert place(address) == kept


def test_a_hash_is_the_same_for_the_same_at_one_app_alone() -> None:
    vault = Vault("a secret key of tests, not short")
    made = mark(vault, CHARTS, ADDRESS, AGENT)
    assert made is not None
    assert len(made) == 40
    assert set(made) <= set("0123456789abcdef")
    assert mark(vault, CHARTS, f"::ffff:{ADDRESS}", AGENT) == made
    others = [
        mark(vault, BOARDS, ADDRESS, AGENT),
        mark(vault, CHARTS, NEIGHBOUR, AGENT),
        mark(vault, CHARTS, ADDRESS, f"{AGENT} "),
        mark(Vault("another secret key of tests, as long"), CHARTS, ADDRESS, AGENT),
        vault.user_id(f"{CHARTS}\n{ADDRESS}\n{AGENT}"),
    ]
    assert len({made, *others}) == 6
    assert [mark(vault, CHARTS, ADDRESS, agent) for agent in (None, "", BOT)] == [None] * 3
    assert mark(vault, CHARTS, ADDRESS, AGENT + "x" * 512) == mark(vault, CHARTS, ADDRESS, AGENT + "x" * 600)


# --- at the doors


def match(cast: Cast, app_key: str, by_network: bool) -> None:
    async def change() -> None:
        async with await open_writer(cast.where, "registry") as db:
            await set_rules(db, 0, app_key, "", Change(by_network=by_network))

    asyncio.run(change())


@contextmanager
def collecting(cast: Cast, **rules: bool) -> Iterator[Doors]:
    """A collector behind a proxy on its machine; `rules` says of apps, with _ for ., whether they match."""
    for app_key, by_network in rules.items():
        match(cast, app_key.replace("_", "."), by_network)
    client = TestClient(Collector(cast.settings()), headers={"user-agent": AGENT}, client=("127.0.0.1", 50_000))
    with client:
        yield Doors(client, cast)


def visit(doors: Doors, address: str = ADDRESS, headers: dict[str, str] | None = None, **changed: Any) -> None:
    sent = {"X_Forwarded_For": address} | (headers or {})
    assert doors.send(view(**{"consent": YES} | changed), **sent).status_code == 204


def segment(doors: Doors, cast: Cast, context: dict[str, Any], shared: dict[str, Any] | None = None) -> None:
    message = {"type": "track", "event": "Application Installed", "anonymousId": "p-1", "context": context}
    body = {"batch": [message], "writeKey": key_of(cast), "context": shared or {}}
    assert doors.client.post("/v1/batch", content=json.dumps(body).encode()).json() == {"success": True}


def agreed(**changed: Any) -> dict[str, Any]:
    """A context of somebody who agreed; None takes a field away."""
    context = {"ip": ADDRESS, "userAgent": AGENT, "consent": AGREED} | changed
    return {name: value for name, value in context.items() if value is not None}


def kept(cast: Cast) -> list[str | None]:
    """What each event has of address and agent."""
    return [event["details"].get("network") for event in cast.events()]


@only_sqlite
@pytest.mark.parametrize("rules", [{}, {"com_owner_charts": False}, {"com_owner_boards": True}])
def test_with_the_rule_off_what_is_stored_is_what_it_always_was(cast: Cast, rules: dict[str, bool]) -> None:
    with collecting(cast, **rules) as doors:
        visit(doors)
        segment(doors, cast, agreed())
        assert pass_on(doors, guid_of(cast), {"type": "identify", "userId": "u", "context": agreed()}).is_success
        assert post(doors, call(cast, origination_ip=ADDRESS)).is_success
    texts = [text for (text,) in cast.rows("select details from events order by seq")]
    assert texts[:3] == [
        f'{{"url":"{LISTING}","query":{{}},"user_agent":"{AGENT}","sharing":true}}',
        f'{{"user_agent":"{AGENT}",{message_id_of(texts[1])}"door":"segment",'
        '"context":{"consent":{"categoryPreferences":{"Advertising":true}}}}',
        f'{{"user_agent":"{AGENT}",{message_id_of(texts[2])}"door":"webhook",'
        '"context":{"consent":{"categoryPreferences":{"Advertising":true}}}}',
    ]
    assert kept(cast) == [None] * 4
    assert ADDRESS.encode() not in cast.every_byte()


def message_id_of(text: str) -> str:
    told = json.loads(text).get("message_id")
    return f'"message_id":"{told}",' if told else ""


@only_sqlite
def test_a_visitor_who_agreed_to_sharing_is_known_by_a_hash_and_nobody_else_is(cast: Cast) -> None:
    with collecting(cast, com_owner_charts=True, com_owner_boards=True) as doors:
        for consent in (None, {"measurement": True}, {"measurement": True, "sharing": False}):
            visit(doors, consent=consent)
        visit(doors, gpc=True)
        visit(doors, headers={"Sec_GPC": "1"})
        visit(doors, headers={"User_Agent": BOT})
        for address in ("", "10.1.2.3", "100.64.0.1", "127.0.0.1", "203.0.113.9", "unknown", f"{ADDRESS}, ::1"):
            visit(doors, address)
        visit(doors, app="com.stranger.notes")
        assert kept(cast) == [None] * 14
        visit(doors)
        visit(doors, f"6.6.6.6, {ADDRESS}", anonymousId=OTHER_VISITOR, name="tab_click", target="tab/a")
        visit(doors, NEIGHBOUR)
        visit(doors, app=BOARDS)
    same, again, neighbours, other_apps = kept(cast)[14:]
    assert same == again == mark(cast.vault, CHARTS, ADDRESS, AGENT)
    assert other_apps == mark(cast.vault, BOARDS, ADDRESS, AGENT)
    assert len({same, neighbours, other_apps}) == 3
    every_byte = cast.every_byte()
    assert [each for each in (ADDRESS, NEIGHBOUR, "6.6.6.6") if each.encode() in every_byte] == []


@only_sqlite
def test_whoever_is_connected_from_elsewhere_cannot_claim_an_address(cast: Cast) -> None:
    match(cast, CHARTS, True)
    for peer, address in ((NEIGHBOUR, NEIGHBOUR), ("10.1.2.3", ""), ("testclient", "")):
        with TestClient(Collector(cast.settings()), headers={"user-agent": AGENT}, client=(peer, 50_000)) as client:
            visit(Doors(client, cast))
        assert kept(cast)[-1] == mark(cast.vault, CHARTS, address, AGENT)


@only_sqlite
def test_one_event_amiss_takes_no_hash_from_the_others(cast: Cast) -> None:
    with collecting(cast, com_owner_charts=True) as doors:
        answer = doors.send(view(consent=YES), view(app="com.nobody.nothing"), X_Forwarded_For=ADDRESS)
    assert answer.json()["stored"] == 1
    assert kept(cast) == [mark(cast.vault, CHARTS, ADDRESS, AGENT)]


def test_the_rule_in_force_is_the_apps_before_the_marketplaces_and_seen_while_the_collector_runs(cast: Cast) -> None:
    with collecting(cast) as doors:

        def is_kept(app_key: str) -> bool:
            visit(doors, app=app_key)
            return kept(cast)[-1] is not None

        assert not is_kept(CHARTS)
        match(cast, MARKETPLACE, True)
        until(lambda: is_kept(CHARTS))
        match(cast, CHARTS, False)
        until(lambda: not is_kept(CHARTS))
        assert is_kept(BOARDS)


@only_sqlite
def test_the_quick_lane_leaves_to_the_ordinary_way_what_needs_the_address_and_nothing_else(cast: Cast) -> None:
    match(cast, CHARTS, True)

    async def judged() -> list[bool]:
        async with await open_reader(cast.where, "registry") as db:
            directory = Directory(db)
            await directory.refresh()
            judge, facts = Judge(directory, cast.vault, "assumed"), Facts(1_771_243_200_000, AGENT, address=None)
            events = [view(consent=YES), view(), view(consent=YES, gpc=True), view(consent=YES, app=BOARDS)]
            for event in events:
                event["occurredAt"] = facts.received_at
            return [judge.judge_clean(json.dumps({"events": [each]}).encode(), facts) is None for each in events]

    assert asyncio.run(judged()) == [True, False, False, False]


@only_sqlite
def test_a_segment_message_is_known_by_a_hash_when_it_says_that_somebody_agreed(cast: Cast) -> None:
    def said(**preferences: Any) -> dict[str, Any]:
        return agreed(consent={"categoryPreferences": preferences})

    with collecting(cast, com_owner_charts=True) as doors:
        for context in (
            agreed(consent=None),
            agreed(consent="yes"),
            agreed(consent={}),
            agreed(consent={"categoryPreferences": ["Advertising"]}),
            said(),
            said(Advertising=False),
            said(Advertising="true"),
            said(Advertising=1),
            said(Analytics=True, Functional=True),
            said(DataSharing=True),
            said(Advertising=True, DataSharing=False),
            said(Advertising=True, data_sharing=None),
            said(Advertising=True, advertising=False),
            said(Advertising2=True),
            agreed(device={"adTrackingEnabled": False}),
            agreed(ip=None),
            agreed(ip="10.1.2.3"),
            agreed(ip=17),
            agreed(userAgent=None),
            agreed(userAgent=BOT),
        ):
            segment(doors, cast, context)
        segment(doors, cast, {}, agreed())
        segment(doors, cast, {"ip": ADDRESS, "userAgent": AGENT}, {"consent": AGREED})
        assert kept(cast) == [None] * 22
        segment(doors, cast, agreed())
        segment(doors, cast, said(advertising=True, DataSharing=True, Analytics=False))
        assert pass_on(doors, guid_of(cast), {"type": "page", "userId": "u", "context": agreed()}).is_success
    assert kept(cast)[22:] == [mark(cast.vault, CHARTS, ADDRESS, AGENT)] * 3
    assert ADDRESS.encode() not in cast.every_byte()


@only_sqlite
def test_a_kochava_call_is_known_by_a_hash_when_both_uses_are_agreed_to(cast: Cast) -> None:
    def install(**data: Any) -> None:
        said = {"origination_ip": ADDRESS, "device_ua": AGENT, "gdpr_privacy_consent": GDPR}
        when = 1_521_574_016 + len(cast.events())
        assert post(doors, call(cast, INSTALL, **said | {"usertime": when} | data)).json()["stored"] == 1

    with collecting(cast, com_owner_charts=True) as doors:
        for consent in (
            None,
            "yes",
            {},
            {"gdpr_applies": 0},
            {"gdpr_applies": 1},
            GDPR | {"ad_user_data": 0},
            GDPR | {"ad_personalization": None},
            {"gdpr_applies": 0, "ad_user_data": 1},
        ):
            install(gdpr_privacy_consent=consent)
        install(device_limit_tracking=True)
        install(app_tracking_transparency={"att": False})
        install(origination_ip="192.168.1.1")
        install(origination_ip=None, device_ip=ADDRESS)
        install(device_ua="")
        install(device_ua=BOT)
        assert kept(cast) == [None] * 14
        install()
        install(gdpr_privacy_consent={"ad_user_data": "true", "ad_personalization": "1"})
        install(device_ua=AGENT.replace(" ", "%20"), app_version="2")
    assert kept(cast)[14:] == [mark(cast.vault, CHARTS, ADDRESS, AGENT)] * 3
    assert ADDRESS.encode() not in cast.every_byte()


@only_sqlite
def test_what_is_kept_of_an_address_is_shown_to_nobody(cast: Cast) -> None:
    with collecting(cast, com_owner_charts=True) as doors:
        visit(doors)
        token = asyncio.run(a_reader(cast))
        shown = doors.client.get(f"/api/v1/apps/{CHARTS}/events", headers={"Authorization": f"Bearer {token}"})
    (event,) = shown.json()["events"]
    assert event["details"]["userAgent"] == AGENT
    assert "network" not in event["details"]
    read = stored(an_event(network="17" * 20))["details"]
    assert read == {"network": "kept"}


async def a_reader(cast: Cast) -> str:
    async with await open_writer(cast.where, "registry") as db:
        return await registry.add_token(db, 0, "owner/reader", frozenset({"read"}), partner_key="owner")


# --- what is decided by it


def decided(cast: Cast) -> Decision:
    """What became of the one install."""

    async def once() -> Decision:
        async with (
            await open_reader(cast.where, "registry") as registry_db,
            await open_reader(cast.where, "log") as log_db,
            await open_writer(cast.where, "ledger") as ledger_db,
            await open_writer(cast.where, "log") as log_writer,
        ):
            now = cast.events()[-1]["received_at"] + 1
            await catch_up(registry_db, log_db, log_writer, now)
            following = Attributing(registry_db, log_db, ledger_db, "run", Silence(), asyncio.Event())
            await following.follow(await log.settled(log_db), now)
            (made,) = await reading.history(ledger_db, CHARTS, cast.events()[-1]["seq"])
            return decision.decode(made.document)

    return asyncio.run(once())


def clicked(doors: Doors, campaign: str, visitor: str = VISITOR, address: str = ADDRESS) -> None:
    url = f"{LISTING}?utm_source=mail&utm_campaign={campaign}"
    visit(doors, address, url=url, anonymousId=visitor, occurredAt=iso(-60_000))


def test_an_install_of_somebody_unknown_is_a_campaigns_by_address_and_agent(cast: Cast) -> None:
    with collecting(cast, com_owner_charts=True) as doors:
        clicked(doors, "autumn", OTHER_VISITOR, NEIGHBOUR)
        clicked(doors, "spring")
        segment(doors, cast, agreed())
    made = decided(cast)
    assert (made.outcome, made.reason) == ("attributed", "probabilistic")
    assert made.winner is not None
    assert made.match is not None
    assert (made.winner.campaign.name, made.match.by) == ("spring", "network")


def test_an_install_is_nobodys_when_two_at_one_address_with_one_agent_fit(cast: Cast) -> None:
    with collecting(cast, com_owner_charts=True) as doors:
        clicked(doors, "autumn", OTHER_VISITOR)
        clicked(doors, "spring")
        segment(doors, cast, agreed())
    made = decided(cast)
    assert (made.outcome, made.reason, made.winner) == ("organic", "ambiguous", None)
