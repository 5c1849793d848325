"""What is known of an app's events as others read it: JSON Schema, tracking plans for Segment and RudderStack. Pure.

A plan says what came, not what should come: a property is required when every event had it, and others may come.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from store.rollups.event_names import Name
from store.rollups.facets import is_cut

DRAFT = "http://json-schema.org/draft-07/schema#"
FORMATS = frozenset({"date-time", "date", "email", "uri"})  # of draft 07; UUIDs are none of them
TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same file for the same events


def json_schema(app_name: str, names: Sequence[Name]) -> dict[str, Any]:
    """One schema for all track calls of an app (JSON Schema draft 07): what a call has to be like is one of the
    definitions, by its event."""
    return {
        "$schema": DRAFT,
        "title": f"Events of {app_name}",
        "type": "object",
        "required": ["event"],
        "anyOf": [{"$ref": f"#/definitions/event{nth}"} for nth, _ in enumerate(names)] or [{}],
        "definitions": {
            f"event{nth}": {
                "title": name.row.name,
                "type": "object",
                "properties": {
                    "type": {"const": "track"},
                    "event": {"const": name.row.name},
                    "properties": properties_schema(name),
                },
                "required": ["event", *(["properties"] if _required(name) else [])],
            }
            for nth, name in enumerate(names)
        },
    }


def properties_schema(name: Name) -> dict[str, Any]:
    """Of one event's properties."""
    required = _required(name)
    return {
        "type": "object",
        "properties": {each: value_schema(kinds) for each, kinds in _whole(name)},
    } | ({"required": required} if required else {})


def value_schema(kinds: Counter[str]) -> dict[str, Any]:
    """Of one property's values."""
    types = types_of(kinds)
    texts = {kind for kind in kinds if kind.startswith("string")}
    form = next(iter(texts)).partition(":")[2] if len(texts) == 1 else ""
    said: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    return said | ({"format": form} if form in FORMATS else {})


def types_of(kinds: Counter[str]) -> list[str]:
    """The types of JSON Schema; a number that was whole now and then is a number."""
    found = {kind.partition(":")[0] for kind in kinds}
    if "number" in found:
        found.discard("integer")
    return [each for each in TYPES if each in found]


def _required(name: Name) -> list[str]:
    return [each for each, _ in _whole(name) if name.is_always_there(each)]


def _whole(name: Name) -> list[tuple[str, Counter[str]]]:
    """The properties whose names were not cut."""
    return [(each, kinds) for each, kinds in sorted(name.properties.items()) if not is_cut(each)]


# --- Segment


def segment_plan(names: Sequence[Name]) -> dict[str, Any]:
    """What Segment's Public API takes at PUT /tracking-plans/{id}/rules: docs.segmentapis.com/tag/Tracking-Plans,
    RuleInputV1 in segmentio/public-api-sdk-typescript."""
    return {
        "rules": [
            {
                "type": "TRACK",
                "key": name.row.name,
                "version": 1,
                "jsonSchema": {
                    "$schema": DRAFT,
                    "type": "object",
                    "properties": {"context": {}, "traits": {}, "properties": properties_schema(name)},
                }
                | ({"required": ["properties"]} if _required(name) else {}),
            }
            for name in names
        ]
    }


# --- RudderStack


def rudderstack_plan(app_name: str, names: Sequence[Name]) -> bytes:
    """The three files of a project for Rudder CLI, as a ZIP: www.rudderstack.com/docs/dev-tools/rudder-cli, "Data
    Catalog and Tracking Plans YAML Reference". JSON is YAML, so that no stranger's text needs quotes of another kind.
    """
    ids: dict[tuple[str, tuple[str, ...]], str] = {}
    for name in names:
        for each, kinds in _whole(name):
            ids.setdefault((each, tuple(types_of(kinds))), f"property_{len(ids)}")
    events = [{"id": f"event_{nth}", "name": name.row.name, "event_type": "track"} for nth, name in enumerate(names)]
    properties = [
        {"id": id_, "name": each, **({"type": types[0]} if len(types) == 1 else {"types": list(types)})}
        for (each, types), id_ in ids.items()
    ]
    rules = [
        {
            "type": "event_rule",
            "id": f"rule_{nth}",
            "event": f"#event:event_{nth}",
            "additional_properties": True,
            "properties": [
                {
                    "property": f"#property:{ids[each, tuple(types_of(kinds))]}",
                    "required": name.is_always_there(each),
                }
                for each, kinds in _whole(name)
            ],
        }
        for nth, name in enumerate(names)
    ]
    plan = {"id": "footfall", "display_name": _plain(app_name), "rules": rules}
    return _zipped(
        {
            "events.yaml": _resource("events", {"events": events}),
            "properties.yaml": _resource("properties", {"properties": properties}),
            "tracking-plan.yaml": _resource("tracking-plan", plan),
        }
    )


def _plain(name: str) -> str:
    """A name as RudderStack takes it: letters, digits and few signs, a letter first."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_, -.") else "_" for sign in name)
    return f"Events of {plain}"[:65].rstrip()


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"version": "rudder/v1", "kind": kind, "metadata": {"name": "footfall"}, "spec": spec}


def _zipped(files: dict[str, dict[str, Any]]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            text = msgspec.json.format(msgspec.json.encode(content), indent=2)
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text, zipfile.ZIP_DEFLATED)
    return held.getvalue()
