"""The collector against its own document: requests made after it, and beside it, by Schemathesis. None is answered with
an error of the server's, and no answer is one that the document does not state.

The requests go to a real process, the same ones in every run. Two of Schemathesis' checks are off: that whatever breaks
a schema is refused, and that whatever fits one is taken. Our doors judge message by message, and against the registry.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from processes import Cast, Footfall, Process, run

from collector.openapi import document
from store import registry
from store.engines import open_writer

READERS = 40  # tokens of a partner's, in turn: one would be told to wait
EACH = 40  # requests made at random for each operation, besides those that Schemathesis makes of every limit
RULES = {
    "generation": {"max-examples": EACH, "deterministic": True, "database": "none"},
    "checks": {"positive_data_acceptance": {"enabled": False}, "negative_data_rejection": {"enabled": False}},
}


def within_reach() -> dict[str, Any]:
    """The document, narrowed to an app and times that are good, so that what fits it is stored and not just refused."""
    described = document("/e")
    schemas = described["components"]["schemas"]
    for name in ("ListingEvent", "BackendMessage"):
        schemas[name]["properties"]["app"] = {"enum": [Cast.owner_app, Cast.stranger_app]}
    parameters = described["components"]["parameters"]
    parameters["App"]["schema"] = {"enum": [Cast.owner_app, Cast.stranger_app, "com.nobody"]}
    parameters["Partner"]["schema"] = {"enum": ["owner", "stranger", "nobody"]}
    parameters["Zone"]["schema"] = {"enum": ["UTC", "Asia/Kolkata", "Europe/Berlin", "Europe/Nowhere"]}
    for name in ("SegmentMessage", "SegmentBatch"):
        schemas[name]["properties"]["writeKey"] = {"enum": [None, ""]}  # it is in the header
    named = {name: {"enum": [f"a-{name}"]} for name in ("event", "userId", "groupId", "previousId")}
    schemas["SegmentMessage"]["properties"] |= named
    schemas["SegmentMessage"]["required"] = ["type", *named]
    schemas["SegmentTime"] = {"enum": ["2026-03-29T09:11:33Z", 1_774_775_493_000, None]}
    schemas["Moment"] = {"enum": ["2026-03-29T09:11:33Z", 1_774_775_493_000]}
    schemas["BackendMessage"]["properties"]["occurredAt"] = {"enum": ["2026-03-29T09:11:33Z", None]}
    return described


ANSWERS: Counter[tuple[str, int]] = Counter()  # what came of the cases, by route and status
SCHEMA = schemathesis.openapi.from_dict(within_reach(), config=schemathesis.Config.from_dict(RULES))


@pytest.fixture(scope="module")
def footfall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footfall]:
    with Footfall(tmp_path_factory.mktemp("openapi") / "data") as footfall:
        yield footfall


@pytest.fixture(scope="module")
def cast(footfall: Footfall) -> Cast:
    return footfall.seed()


@pytest.fixture(scope="module")
def readers(footfall: Footfall, cast: Cast) -> Iterator[str]:
    """Tokens of the owner's, one after the other, for ever."""

    async def make() -> list[str]:
        async with await open_writer(footfall.where, "registry") as db:
            scopes = frozenset({"read"})
            return [await registry.add_token(db, 0, f"r{n}", scopes, partner_key="owner") for n in range(READERS)]

    return itertools.cycle(run(make()))


@pytest.fixture(scope="module")
def collector(footfall: Footfall, cast: Cast) -> Iterator[Process]:
    with footfall.collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def ingest_key(footfall: Footfall, cast: Cast) -> str:
    ((key,),) = footfall.rows("registry", "select ingest_key from apps where app_key = ?", cast.owner_app)
    return str(key)


def authorization(case: schemathesis.Case, cast: Cast, readers: Iterator[str], ingest_key: str) -> dict[str, str]:
    """Of whoever may ask for it."""
    if case.path.startswith("/v1/"):
        return {"Authorization": f"Basic {base64.b64encode(f'{ingest_key}:'.encode()).decode()}"}
    token = next(readers) if case.method == "GET" else cast.token
    return {"Authorization": f"Bearer {token}"} if case.path.startswith("/api/") else {}


@SCHEMA.parametrize()
def test_every_answer_is_one_that_the_document_states(
    case: schemathesis.Case, collector: Process, cast: Cast, readers: Iterator[str], ingest_key: str
) -> None:
    answer = case.call_and_validate(base_url=collector.url, headers=authorization(case, cast, readers, ingest_key))
    ANSWERS[case.path, answer.status_code] += 1


def test_what_a_partner_may_read_was_read() -> None:
    read = {
        path for path, item in SCHEMA.raw_schema["paths"].items() if "429" in item.get("get", {}).get("responses", {})
    }
    assert len(read) == 6
    assert {path for path, status in ANSWERS if status == 200 and path in read} == read, ANSWERS


def test_what_fitted_was_stored_and_the_sums_are_exact(footfall: Footfall, collector: Process) -> None:
    findings = footfall.say("doctor")
    assert findings["balanced"], findings
    assert findings["doors"]["stored"] > EACH, findings
    assert findings["doors"]["rejected"] > EACH, findings
    partners = footfall.rows("events", "select count(*) from events where source = 'partner'")
    assert partners[0][0] > 5, ANSWERS
    assert len(collector.log().splitlines()) == 1, "it has said nothing but that it began"
