"""The document at /openapi.json: valid, of every route and no other, and with the limits and reasons of the code."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import Doors
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from collector.assets import load_snippet
from collector.doors import (
    backend,
    body,
    browser,
    events,
    kochava,
    listing,
    partner,
    read,
    segment,
    segment_message,
    segment_request,
    webhook,
)
from collector.guard import MAX_HEAD_BYTES
from collector.openapi import document
from collector.portal import view
from collector.portal.frame import PageRoute
from collector.portal.pages import NUMBERS
from store import ids
from store.rollups.facets import FILTERS

pytestmark = pytest.mark.only("sqlite", "a document knows no store")

ROOT = Path(__file__).parents[1]
DOCUMENT = document("/e")
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_it_is_a_valid_document() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_is_served_with_the_door_where_the_operator_put_it(open_doors: Callable[..., Doors]) -> None:
    answer = open_doors(ingest_path="/collect/events").client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == document("/collect/events")
    assert [path for path in answer.json()["paths"] if path not in DOCUMENT["paths"]] == ["/collect/events"]
    assert "/e" not in answer.json()["paths"]


def test_its_version_is_the_programs() -> None:
    assert f'version = "{DOCUMENT["info"]["version"]}"' in (ROOT / "pyproject.toml").read_text()


def described(path: str) -> str:
    """A route's path as the document writes it."""
    path = path.replace(load_snippet().hash, "{hash}").replace(":path}", "}").removesuffix("/") or "/"
    path = re.sub(r"^/js/footfall\.[0-9a-f]+\.js$", "/js/footfall.{hash}.js", path)
    return re.sub(r"^(/static/(?:vendor/)?[a-z]+/).+", r"\1{file}", path)


def test_every_route_but_pages_is_in_it_and_nothing_else(doors: Doors) -> None:
    found = [route for route in doors.client.app._router.routes if isinstance(route, Route)]
    routes = [route for route in found if not isinstance(route, PageRoute)]
    served = {(described(route.path), method) for route in routes for method in route.methods or {"GET"}}
    served = {(path, method.lower()) for path, method in served if method != "HEAD"}
    told = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method != "description"}
    assert told == served | {("/e", "post"), ("/e", "options")}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (path, path.replace("{hash}", load_snippet().hash))
        for path in DOCUMENT["paths"]
        if "{file}" not in path and "{key}" not in path
    ]
    + [("/static/css/{file}", "/static/css/house.css"), ("/static/css/{file}", "/static/css/mark.svg")]
    + [("/static/js/{file}", "/static/js/live.js")]
    + [
        ("/static/vendor/uplot/{file}", f"/static/vendor/uplot/{name}")
        for name in ("uPlot.iife.min.js", "uPlot.min.css")
    ],
)
def test_what_can_be_asked_for_comes_in_a_type_that_it_states(doors: Doors, path: str, asked: str) -> None:
    if "get" not in DOCUMENT["paths"][path]:
        assert doors.client.get(asked).status_code == 405
        return
    if "security" in DOCUMENT["paths"][path]["get"]:
        assert doors.client.get(asked).status_code == 401
        return
    stated = DOCUMENT["paths"][path]["get"]["responses"]["200"]
    stated = DOCUMENT["components"]["responses"].get(stated.get("$ref", "").rpartition("/")[2], stated)
    answer = doors.client.get(asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] in stated["content"]


# --- limits


def bare(schema: Any) -> Any:
    """A schema without its texts and without the defaults, which say nothing of what is taken."""
    if isinstance(schema, dict):
        return {name: bare(value) for name, value in schema.items() if name not in ("title", "description", "default")}
    return [bare(item) for item in schema] if isinstance(schema, list) else schema


def code_says(struct: type[msgspec.Struct], **narrower: Any) -> dict[str, Any]:
    """The schema of what a door decodes, and what the door checks besides."""
    _, components = msgspec.json.schema_components([struct], ref_template="#/components/schemas/{name}")
    moment, schema = bare(SCHEMAS["Moment"])["anyOf"], bare(components[struct.__name__])
    for name, told in schema["properties"].items():
        if told.get("anyOf", [])[:2] == moment:
            rest = told["anyOf"][2:]
            reference = {"$ref": "#/components/schemas/Moment"}
            schema["properties"][name] = {"anyOf": [reference, *rest]} if rest else reference
    schema["properties"] |= narrower
    if not schema["required"]:
        del schema["required"]
    return schema


def shape(pattern: re.Pattern[str]) -> str:
    return "^" + pattern.pattern.replace(r"\Z", "$")


HEX = {"type": "string", "pattern": shape(ids._ANONYMOUS_ID)}
NULL = {"type": "null"}
EVENTS = {
    "type": "array",
    "minItems": 1,
    "maxItems": listing.MAX_EVENTS,
    "items": {"$ref": "#/components/schemas/ListingEvent"},
}


def test_the_snippets_body_is_described_as_it_is_decoded() -> None:
    assert bare(SCHEMAS["ListingBody"]) == code_says(listing.ListingBody, events=EVENTS)
    assert bare(SCHEMAS["ListingEvent"]) == code_says(listing.ListingEvent, anonymousId=HEX)
    assert bare(SCHEMAS["Consent"]) == code_says(listing.Consent)


def test_the_back_ends_message_is_described_as_it_is_decoded() -> None:
    partner_id = {"type": "string", "pattern": "^[ -~]{0,200}$"}
    expected = code_says(
        backend.BackendMessage, userId={"anyOf": [HEX, NULL]}, partnerAnonymousId={"anyOf": [partner_id, NULL]}
    )
    assert bare(SCHEMAS["BackendMessage"]) == expected
    taken = {chr(code) for code in range(0x300) if ids.is_partner_anonymous_id(chr(code))}
    assert taken == {chr(code) for code in range(ord(" "), ord("~") + 1)}
    assert [ids.is_partner_anonymous_id("x" * length) for length in (0, 200, 201)] == [False, True, False]  # '': absent


def test_the_limits_in_its_texts_are_the_codes() -> None:
    components = DOCUMENT["components"]
    listings, back_ends = DOCUMENT["paths"]["/e"]["post"]["requestBody"], components["requestBodies"]["Messages"]
    assert f"at most {MAX_HEAD_BYTES} bytes" in DOCUMENT["info"]["description"]
    assert listings["description"] == f"At most {browser.MAX_BODY} bytes, in at most {body.MAX_PIECES} pieces."
    assert f"{backend.MAX_BODY} bytes, in at most {body.MAX_PIECES} pieces" in back_ends["description"]
    assert f"at most {backend.MAX_MESSAGES};" in back_ends["description"]
    one, several = back_ends["content"]["application/json"]["schema"]["oneOf"]
    assert (several["maxItems"], several["items"]) == (backend.MAX_MESSAGES, one)


def test_what_a_partners_program_may_ask_is_described_as_it_is_read() -> None:
    parameters = DOCUMENT["components"]["parameters"]
    assert parameters["NumbersPage"]["schema"]["enum"] == list(NUMBERS)
    assert parameters["Period"]["schema"] == {"enum": list(view.PERIODS), "default": view.USUAL_PERIOD}
    assert parameters["Compare"]["schema"] == {"enum": list(view.COMPARED), "default": view.USUAL_COMPARED}
    assert parameters["Zone"]["schema"]["default"] == view.USUAL_ZONE
    filters = parameters["Filters"]["schema"]
    assert (filters["maxItems"], filters["items"]["pattern"]) == (view.MOST_FILTERS, f"^({'|'.join(FILTERS)}):")
    _, after, limit = DOCUMENT["paths"]["/api/v1/apps/{app_key}/events"]["get"]["parameters"]
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": events.MOST, "default": events.USUAL}
    assert after["schema"]["maximum"] == 10**18 - 1


def test_segments_messages_are_described_as_they_are_decoded() -> None:
    """What is passed over may be anything, and the lengths are those of what is kept."""
    message, batch = SCHEMAS["SegmentMessage"]["properties"], SCHEMAS["SegmentBatch"]["properties"]
    assert set(message) == set(segment_request.One.__struct_encode_fields__)
    assert set(batch) == set(segment_request.Batch.__struct_encode_fields__)
    assert message["type"]["enum"] == [*segment_message.TYPES, None]
    assert message["messageId"]["maxLength"] == segment_message.MOST_MESSAGE_ID_CHARACTERS
    assert {message[name]["maxLength"] for name in ("userId", "anonymousId")} == {partner.MOST_CHARACTERS}
    assert batch["batch"]["maxItems"] == segment_request.MAX_MESSAGES
    assert f"at most {segment_request.MAX_SHARED_CONTEXT} bytes" in batch["context"]["description"]
    assert set(DOCUMENT["components"]["parameters"]["Call"]["schema"]["enum"]) == {*segment.CALLS, segment.OWN_NUMBERS}
    taken = DOCUMENT["paths"]["/v1/{call}"]["post"]["requestBody"]["description"]
    assert f"at most {segment.MAX_BODY} bytes, also unpacked, in at most {body.MAX_PIECES} pieces" in taken
    assert f"at most {partner.MAX_MESSAGE_BYTES} bytes" in taken
    assert f"at most {segment_request.MAX_MESSAGES};" in taken
    passed_on = DOCUMENT["paths"]["/webhooks/segment/{guid}"]["post"]["requestBody"]
    assert passed_on["description"].endswith(f"at most {webhook.MAX_MESSAGES}; at most {webhook.MAX_BODY} bytes.")


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if path.startswith("/api/v1/")])
def test_the_statuses_of_what_is_read_are_those_that_it_gives(path: str) -> None:
    if "get" in DOCUMENT["paths"][path]:
        given = {200, 429, 503, *read.STATUS.values()} - (set() if "{" in path else {404})
        assert {int(status) for status in DOCUMENT["paths"][path]["get"]["responses"]} == given


# --- reasons


def reasons(column: int) -> list[str]:
    """The reasons at one kind of door, by the table in the reference."""
    return listed("## At the doors", column)


def listed(heading: str, column: int) -> list[str]:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    table = text.partition(f"{heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("| `")]
    return sorted(row[1].strip("`") for row in rows if row[column][0].isdigit())


def test_its_reasons_are_those_of_the_reference_and_the_reference_has_those_of_the_code() -> None:
    assert SCHEMAS["ListingReason"]["enum"] == reasons(2)
    assert SCHEMAS["BackendReason"]["enum"] == reasons(3)
    assert SCHEMAS["ReadReason"]["enum"] == reasons(4) == sorted(read.STATUS)
    of_partners = [listed("## At partners' doors", column) for column in (2, 3, 4)]
    assert SCHEMAS["SegmentReason"]["enum"] == sorted({*of_partners[0], *of_partners[1]})
    assert SCHEMAS["KochavaReason"]["enum"] == of_partners[2]
    sources = [path.read_text() for path in (ROOT / "collector").rglob("*.py")]
    code = {reason for text in sources for reason in re.findall(r"Refused\(\s*\"([a-z_0-9]+)\"", text)}
    assert {*reasons(2), *reasons(3), *reasons(4), *of_partners[0], *of_partners[1], *of_partners[2]} == code | {
        "unstorable"
    }


@pytest.mark.parametrize("door", ["/e", "/api/v1/installs", "/api/v1/app-requests", "/api/v1/uninstalls"])
def test_the_statuses_of_a_door_are_those_that_it_gives(door: str) -> None:
    given = {200, 400, 503, *(browser._STATUS if door == "/e" else backend._STATUS).values()}
    given |= {204, 405} if door == "/e" else set()
    assert {int(status) for status in DOCUMENT["paths"][door]["post"]["responses"]} == given


def test_the_statuses_and_limits_of_kochavas_doors_are_those_that_they_have() -> None:
    for path in (kochava.TRACK_PATH, kochava.LINK_PATH):
        stated = DOCUMENT["paths"][path]["post"]
        assert {int(status) for status in stated["responses"]} == {200, 400, 503, *kochava.STATUS.values()}
        assert f"at most {kochava.MAX_CALLS}; at most {kochava.MAX_BODY} bytes" in stated["requestBody"]["description"]


def test_the_statuses_of_partners_doors_are_those_that_they_give() -> None:
    for door, given in (("/v1/{call}", segment.STATUS), ("/webhooks/segment/{guid}", webhook.STATUS)):
        stated = {int(status) for status in DOCUMENT["paths"][door]["post"]["responses"]}
        assert stated == {200, 400, 503, *given.values()} | ({405} if door == "/v1/{call}" else set())
