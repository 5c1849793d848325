"""The collector against its own document: requests made after it, and beside it, by Schemathesis. None is answered with
an error of the server's, and no answer is one that the document does not state.

The requests go to a real process, the same ones in every run. Two of Schemathesis' checks are off: that whatever breaks
a schema is refused, and that whatever fits one is taken. Our doors judge message by message, and against the registry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from processes import Cast, Footfall, Process

from collector.openapi import document

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
    schemas["Moment"] = {"enum": ["2026-03-29T09:11:33Z", 1_774_775_493_000]}
    schemas["BackendMessage"]["properties"]["occurredAt"] = {"enum": ["2026-03-29T09:11:33Z", None]}
    return described


SCHEMA = schemathesis.openapi.from_dict(within_reach(), config=schemathesis.Config.from_dict(RULES))


@pytest.fixture(scope="module")
def footfall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footfall]:
    with Footfall(tmp_path_factory.mktemp("openapi") / "data") as footfall:
        yield footfall


@pytest.fixture(scope="module")
def cast(footfall: Footfall) -> Cast:
    return footfall.seed()


@pytest.fixture(scope="module")
def collector(footfall: Footfall, cast: Cast) -> Iterator[Process]:
    with footfall.collector() as collector:
        yield collector


@SCHEMA.parametrize()
def test_every_answer_is_one_that_the_document_states(case: schemathesis.Case, collector: Process, cast: Cast) -> None:
    token = {"Authorization": f"Bearer {cast.token}"} if case.path.startswith("/api/") else {}
    case.call_and_validate(base_url=collector.url, headers=token)


def test_what_fitted_was_stored_and_the_sums_are_exact(footfall: Footfall, collector: Process) -> None:
    findings = footfall.say("doctor")
    assert findings["balanced"], findings
    assert findings["doors"]["stored"] > EACH, findings
    assert findings["doors"]["rejected"] > EACH, findings
    assert len(collector.log().splitlines()) == 1, "it has said nothing but that it began"
