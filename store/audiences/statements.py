"""What a message of Segment Engage says of its user: is in an audience or not, or has a computed trait.

The rules are those of Segment's own parser (`packages/core/src/audience-membership.ts` of its action destinations), and
what its documented samples need besides: there the trait that carries the boolean is not called as the key says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

ENTERED, EXITED, COMPUTED = "Audience Entered", "Audience Exited", "Trait Computed"
AUDIENCE_CLASSES = ("audience", "journey_step")
MOST_CHARACTERS = 100  # of a name, and of a value
TRUTHS = {"true": True, "false": False}  # version 1 of journeys sends texts


class Membership(msgspec.Struct, frozen=True):
    """That a user is in an audience, or is not."""

    audience: str
    member: bool


class Trait(msgspec.Struct, frozen=True):
    """A computed trait's value as JSON, cut; '' when it was taken away."""

    trait: str
    value: str


Statement = Membership | Trait


def statements(
    kind: str,
    name: str,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
    is_audience: Callable[[str], bool],
) -> list[Statement]:
    """What an identify or a track call says. `name` is the track call's event; `properties` are an identify call's
    traits; `is_audience` tells whether a name is of an audience that was told of before: old spaces do not say which
    traits are."""
    personas = context.get("personas")
    if kind == "identify":
        if isinstance(personas, dict) and personas.get("computation_class"):
            return _of_computation(properties, personas)
        booleans = {_cut(key): value for key, value in properties.items() if isinstance(value, bool)}
        return [Membership(name, value) for name, value in booleans.items() if is_audience(name)]
    if kind == "track":
        return _of_track(name, properties, personas if isinstance(personas, dict) else {})
    return []


def _of_computation(traits: Mapping[str, Any], personas: Mapping[str, Any]) -> list[Statement]:
    key = personas.get("computation_key")
    if not isinstance(key, str) or not key:
        return []
    if personas["computation_class"] == "trait":
        named = key if key in traits else _only(traits, lambda value: True)
        return [] if named is None else [Trait(_cut(named), _value(traits[named]))]
    if personas["computation_class"] not in AUDIENCE_CLASSES:
        return []
    named = key if _truth(traits.get(key)) is not None else _only(traits, lambda value: _truth(value) is not None)
    if named is not None:
        return [Membership(_cut(named), bool(_truth(traits[named])))]
    return [Membership(_cut(key), True)] if personas["computation_class"] == "journey_step" else []


def _of_track(name: str, properties: Mapping[str, Any], personas: Mapping[str, Any]) -> list[Statement]:
    if name in (ENTERED, EXITED):
        key = properties.get("audience_key") or personas.get("computation_key")
        if isinstance(key, str) and key:
            member = _truth(properties.get(key))
            return [Membership(_cut(key), name == ENTERED if member is None else member)]
    elif name == COMPUTED:
        key = properties.get("trait_key") or personas.get("computation_key")
        if isinstance(key, str) and key in properties:
            return [Trait(_cut(key), _value(properties[key]))]
    elif personas.get("computation_class") in AUDIENCE_CLASSES:
        key = personas.get("computation_key")
        member = _truth(properties.get(key)) if isinstance(key, str) else None
        if isinstance(key, str) and key and (member is not None or personas["computation_class"] == "journey_step"):
            return [Membership(_cut(key), member is not False)]
    return []


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        return TRUTHS.get(value)
    return value if isinstance(value, bool) else None


def _only(traits: Mapping[str, Any], fits: Callable[[Any], bool]) -> str | None:
    """The one trait that fits; None when there are several, of which nobody can know which is meant."""
    found = [key for key, value in traits.items() if key and fits(value)]
    return found[0] if len(found) == 1 else None


def _value(value: object) -> str:
    return "" if value is None else _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
