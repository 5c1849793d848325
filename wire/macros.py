"""What a webhook's body is made of: a template with macros, and the values that they stand for. Pure.

A macro is `{{campaign.name}}`. Nothing that a value holds can leave its place, because no text is ever put into other
text as it is: a JSON template is read first and its strings are filled in afterwards, a form or a query is filled in
with every value percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

Form = Literal["json", "form"]
Value = str | int | float | None
Values = Mapping[str, Value]

MOST_CHARACTERS = 8_000  # of a template
MOST_MACROS = 200
MOST_BYTES = 262_144  # of a body
MOST_DEPTH = 20

# Every macro, in the order in which a page lists them.
MACROS = {
    "event.name": "install",
    "event.id": "the install's message id, the same in every postback about it",
    "event.time": "when, as 2026-02-16T12:00:00.123Z",
    "event.time_ms": "when, in milliseconds since 1970",
    "event.value": "what the install itself earned, as a number",
    "event.currency": "of the value, as EUR",
    "decision.kind": "attributed or organic",
    "decision.method": "how the campaign was matched",
    "decision.time": "when it was decided",
    "decision.version": "1, and more when late evidence decided it anew",
    "campaign.source": "the network",
    "campaign.name": "",
    "campaign.medium": "",
    "campaign.term": "",
    "campaign.content": "",
    "campaign.ad_creative": "",
    "campaign.ad_group": "",
    "campaign.ad_group_id": "",
    "campaign.id": "",
    "campaign.agency": "who runs the campaign for the network's customer",
    "click.id": "the id that the network gave the click",
    "ids.anonymous_id": "the visitor",
    "ids.user_id": "the account",
    "ids.partner_anonymous_id": "the id that the partner gave the visitor",
    "ids.idfa": "",
    "ids.idfv": "",
    "ids.adid": "Google's advertising id",
    "ids.android_id": "",
    "ids.advertising_id": "an advertising id of no known make",
    "ids.device_id": "",
    "app.key": "",
    "app.name": "",
    "app.id": "the app's number in the marketplace",
    "partner.id": "",
    "provider": "who attributes: Footfall, or the name in the settings",
    "message.id": "as in the header webhook-id: the same in every attempt",
}

DEFAULT = """\
{
  "type": "{{event.name}}",
  "timestamp": "{{event.time}}",
  "data": {
    "conversion": "{{event.id}}",
    "value": "{{event.value}}",
    "currency": "{{event.currency}}",
    "decision": "{{decision.kind}}",
    "version": "{{decision.version}}",
    "app": "{{app.key}}",
    "anonymousId": "{{ids.anonymous_id}}",
    "userId": "{{ids.user_id}}",
    "clickId": "{{click.id}}",
    "campaign": {
      "source": "{{campaign.source}}",
      "name": "{{campaign.name}}",
      "medium": "{{campaign.medium}}",
      "content": "{{campaign.content}}"
    }
  }
}
"""

CONTENT_TYPES: dict[Form, str] = {"json": "application/json", "form": "application/x-www-form-urlencoded"}

_MACRO = re.compile(r"\{\{\s*([a-z_]+(?:\.[a-z_]+)?)\s*\}\}")


def check(template: str, form: Form) -> None:
    """Raises ValueError that says what is wrong with a template."""
    if len(template) > MOST_CHARACTERS:
        raise ValueError(f"a template has at most {MOST_CHARACTERS} characters")
    _check_macros(template)
    if form == "json":
        _walk(_read(template), _known_only, 0)
    elif any(ord(letter) < 0x20 for letter in template.strip()):
        raise ValueError("a form is one line: name=value&name=value")


def check_query(query: str) -> None:
    """Raises ValueError that says what is wrong with the query of a webhook's address."""
    _check_macros(query)
    rest = _MACRO.sub("", query)
    if not re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", rest):
        raise ValueError("in a query, what is no letter or digit is written as %20 and the like")


def body(template: str, form: Form, values: Values) -> bytes:
    """The body for one conversion. In JSON, a string that is one macro alone becomes the value itself, also a number or
    null. Raises ValueError when it is too large."""
    if form == "json":
        made = msgspec.json.encode(_walk(_read(template), lambda text: _filled(text, values), 0))
    else:
        made = encoded(template.strip(), values).encode()
    if len(made) > MOST_BYTES:
        raise ValueError(f"the body is larger than {MOST_BYTES} bytes")
    return made


def encoded(text: str, values: Values) -> str:
    """A query or a form with every value percent-encoded."""
    return _MACRO.sub(lambda found: quote(_text(values.get(found[1])), safe=""), text)


def _check_macros(text: str) -> None:
    names = _MACRO.findall(text)
    unknown = sorted(set(names) - MACROS.keys())
    if unknown:
        raise ValueError(f"there is no macro {{{{{unknown[0]}}}}}")
    if len(names) > MOST_MACROS:
        raise ValueError(f"a template has at most {MOST_MACROS} macros")
    if "{{" in _MACRO.sub("", text):
        raise ValueError("a macro is written like {{event.name}}")


def _read(template: str) -> Any:
    try:
        return msgspec.json.decode(template)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the template is no JSON: {error}") from None


def _walk(node: Any, fill: Callable[[str], Any], depth: int) -> Any:
    """The same JSON with every string but names filled in."""
    if depth > MOST_DEPTH:
        raise ValueError(f"a template is at most {MOST_DEPTH} levels deep")
    if isinstance(node, str):
        return fill(node)
    if isinstance(node, list):
        return [_walk(each, fill, depth + 1) for each in node]
    if isinstance(node, dict):
        if any("{{" in name for name in node):
            raise ValueError("macros stand in values, not in names")
        return {name: _walk(each, fill, depth + 1) for name, each in node.items()}
    return node


def _known_only(text: str) -> str:
    """As `_check_macros`, of a string whose escapes are read."""
    _check_macros(text)
    return text


def _filled(text: str, values: Values) -> Value:
    alone = _MACRO.fullmatch(text)
    if alone:
        return values.get(alone[1])
    return _MACRO.sub(lambda found: _text(values.get(found[1])), text)


def _text(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
