"""The demo's past: what it is made of, and that the doors take it, once."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import Cast

from collector.demo.catalogue import APPS
from collector.demo.fernhollow import BOARD_CHARTS, FERNHOLLOW
from collector.demo.history import DAY_MS, PEAK, Act, Visit, history
from collector.demo.listing import TABS, App
from collector.demo.pebblewick import AUDIT_LANTERN
from collector.demo.telling import tell
from store import registry
from store.database import Where
from store.engines import open_writer

pure = pytest.mark.only("sqlite", "what is made up knows no store")

UNTIL = 1_790_000_000_000
SITE = "http://127.0.0.1:8000"


def visits(*apps: App) -> list[Visit]:
    return [part for part in history(apps, UNTIL, SITE) if isinstance(part, Visit)]


def acts(*apps: App) -> list[Act]:
    return [part for part in history(apps, UNTIL, SITE) if isinstance(part, Act)]


def events(*apps: App) -> list[dict[str, Any]]:
    return [event for visit in visits(*apps) for event in visit.events]


@pure
def test_the_past_of_one_moment_is_always_the_same() -> None:
    assert history(APPS, UNTIL, SITE) == history(APPS, UNTIL, SITE)


@pure
def test_one_app_more_changes_nothing_of_another() -> None:
    among_all = [visit for visit in visits(*APPS) if visit.app_key == AUDIT_LANTERN.key]
    assert among_all == visits(AUDIT_LANTERN)


@pure
def test_it_is_sixty_days_long_in_order_and_ends_when_the_demo_is_made() -> None:
    times = [part.at for part in history(APPS, UNTIL, SITE)]
    assert times == sorted(times)
    assert 0 < UNTIL - times[-1] < DAY_MS
    assert 60 * DAY_MS <= UNTIL - times[0] < 61 * DAY_MS


@pure
def test_it_is_as_much_as_dashboards_need_and_no_message_id_comes_twice() -> None:
    ids = [event["messageId"] for event in events(*APPS)] + [act.message["messageId"] for act in acts(*APPS)]
    assert 25_000 < len(ids) < 40_000
    assert len(set(ids)) == len(ids)


@pure
def test_each_step_of_the_funnel_is_taken_by_fewer() -> None:
    stages: dict[str, set[str]] = {"page_view": set(), "tab_click": set(), "cta_click": set(), "hover": set()}
    for event in events(BOARD_CHARTS):
        stages[event["name"]].add(event["anonymousId"])
    installed = {act.message.get("anonymousId") for act in acts(BOARD_CHARTS) if act.door == "installs"} - {None}
    assert len(stages["page_view"]) > len(stages["tab_click"]) > len(stages["cta_click"]) > len(installed) > 20
    assert installed <= stages["cta_click"]


@pure
def test_an_app_on_request_is_requested_before_it_is_installed() -> None:
    asked: dict[str, int] = {}
    for act in acts(AUDIT_LANTERN):
        if act.door == "app-requests":
            asked[act.message["accountId"]] = act.at
        elif act.door == "installs":
            assert act.at > asked[act.message["accountId"]]
    assert len(asked) > 10


@pure
def test_what_was_clicked_is_on_the_listing() -> None:
    labels = {(event["name"], event["label"]) for event in events(BOARD_CHARTS) if "label" in event}
    assert {label for name, label in labels if name == "tab_click"} == set(TABS.values())
    assert {label for name, label in labels if name == "cta_click"} == {"Try it free", "Buy it now"}


@pure
def test_weekends_and_nights_are_quiet_and_the_campaign_is_not() -> None:
    days = Counter((visit.at - UNTIL) // DAY_MS + 60 for visit in visits(*APPS))
    weekend = Counter(visit.at // DAY_MS % 7 in (2, 3) for visit in visits(*APPS))  # the epoch began on a Thursday
    hours = Counter(visit.at // 3_600_000 % 24 for visit in visits(*APPS))
    assert weekend[True] / 2 < 0.5 * weekend[False] / 5
    assert hours[3] < 0.3 * hours[14]
    assert sum(days[day] for day in PEAK) > 1.3 * sum(days[day] for day in range(25, 33))


@pure
def test_visitors_come_from_everywhere_and_campaigns_have_all_five_parameters() -> None:
    arrivals = [visit.events[0] for visit in visits(BOARD_CHARTS)]
    hosts = {urlsplit(event.get("referrer", "")).netloc for event in arrivals}
    assert {"", "127.0.0.1:8000", "www.google.com", "calm-work-notes.example"} <= hosts
    queries = [parse_qs(urlsplit(event["url"]).query) for event in arrivals]
    names = Counter(name for query in queries for name in query)
    assert {f"utm_{name}" for name in ("source", "medium", "campaign", "term", "content")} <= names.keys()
    assert names["utm_source"] > names["partner_anonymous_id"] > 50
    assert {value for query in queries for value in query.get("hosting", [])} == {"cloud", "server"}


async def _listed(where: Where) -> str:
    async with await open_writer(where, "registry") as db:
        await registry.add_partner(db, 0, FERNHOLLOW.key, FERNHOLLOW.partner_id, FERNHOLLOW.name)
        await registry.add_app(db, 0, BOARD_CHARTS.key, FERNHOLLOW.key, BOARD_CHARTS.plugin_id, BOARD_CHARTS.name)
        return await registry.add_token(db, 0, "demo", frozenset(registry.SCOPES))


def test_the_doors_take_it_and_told_again_it_is_known(cast: Cast) -> None:
    settings = cast.settings(public_url=SITE)
    token = asyncio.run(_listed(cast.where))
    past = history([BOARD_CHARTS], UNTIL, SITE)
    for _ in range(2):
        asyncio.run(tell(settings, token, cast.vault.sign_visitor, past))

    sums = cast.balance()
    assert sums["stored"] == sums["duplicate"] > 2_000
    assert sums["shed"] == 0
    assert {reason for _, reason, _ in cast.rejections()} <= {"consent_refused", "invalid"}
    stored = cast.events()
    assert {event["name"] for event in stored} == {"page_view", "tab_click", "cta_click", "install", "uninstall"}
    assert {event["suppressed"] for event in stored} == {None, "consent", "gpc", "bot"}
    assert max(event["occurred_at"] for event in stored) < UNTIL + DAY_MS
    assert min(event["occurred_at"] for event in stored) > UNTIL - 61 * DAY_MS
    seen = {event["anonymous_id"]: event["partner_anonymous_id"] for event in stored if event["partner_anonymous_id"]}
    assert all(re.fullmatch(r"fe-[0-9a-f]{12}", theirs) for theirs in seen.values())
    assert any(event["name"] == "install" and event["partner_anonymous_id"] for event in stored)
