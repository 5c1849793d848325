"""Templates of webhooks: what may stand in one, and that no value leaves its place, whatever it holds."""

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import macros
from wire.macros import DEFAULT, MACROS, MOST_BYTES, body, check, check_query, encoded

HOSTILE = '"}, "admin": true, {"x": "\\ \n\0 </script> & = ? # % {{app.key}} ${x} \u2028 😀'
texts = st.one_of(st.text(st.characters(codec="utf-8")), st.text('"\\{}&=?#%+ \n,:[]'), st.just(HOSTILE))
found = st.one_of(st.none(), st.integers(-(1 << 53), 1 << 53), st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.fixed_dictionaries(dict.fromkeys(MACROS, found))


@given(values)
def test_in_json_each_value_is_read_where_its_macro_stands(told: dict[str, Any]) -> None:
    template = {"alone": {name: f"{{{{{name}}}}}" for name in MACROS}, "in text": ["<{{campaign.name}}>"]}
    read = json.loads(body(json.dumps(template), "json", told))
    assert read["alone"] == told
    assert read["in text"][0][:1] + read["in text"][0][-1:] == "<>"
    assert set(read) == {"alone", "in text"}


@given(values)
def test_in_a_form_and_in_a_query_there_are_as_many_fields_as_the_template_has(told: dict[str, Any]) -> None:
    template = "a={{campaign.name}}&b=x-{{ids.user_id}}&c=%20{{event.value}}"
    read = parse_qs(body(template, "form", told).decode(), keep_blank_values=True, strict_parsing=True)
    url = urlsplit(f"https://hooks.example/p?{encoded(template, told)}")
    assert set(read) == {"a", "b", "c"}
    assert read["b"] == [f"x-{'' if told['ids.user_id'] is None else macros._text(told['ids.user_id'])}"]
    assert (url.hostname, url.path, url.fragment) == ("hooks.example", "/p", "")
    assert len(parse_qsl(url.query, keep_blank_values=True)) == 3


def test_a_value_that_looks_like_a_macro_is_a_value() -> None:
    assert body('["{{campaign.name}}", "a {{campaign.name}}"]', "json", {"campaign.name": "{{app.key}}"}) == (
        b'["{{app.key}}","a {{app.key}}"]'
    )


def test_a_string_that_is_one_macro_becomes_the_value_itself() -> None:
    told = {"event.value": 4.5, "event.time_ms": 7, "campaign.name": None, "app.key": "a"}
    template = '{"n": "{{event.value}}", "t": "{{ event.time_ms }}", "c": "{{campaign.name}}", "s": "{{app.key}}/"}'
    assert body(template, "json", told) == b'{"n":4.5,"t":7,"c":null,"s":"a/"}'


def test_the_usual_template_is_good_and_so_is_one_with_every_macro() -> None:
    check(DEFAULT, "json")
    check(json.dumps([f"{{{{{name}}}}}" for name in MACROS]), "json")
    check("&".join(f"{name}={{{{{name}}}}}" for name in MACROS), "form")


@pytest.mark.parametrize(
    ("template", "form", "said"),
    [
        ('{"a": {{event.name}}}', "json", "the template is no JSON"),
        ('{"a": "{{event.nme}}"}', "json", "there is no macro {{event.nme}}"),
        ('{"a": "\\u007b{event.nme}}"}', "json", "there is no macro"),
        ('{"{{event.name}}": 1}', "json", "macros stand in values"),
        ('{"\\u007b\\u007bevent.name}}": 1}', "json", "macros stand in values"),
        ('{"a": "{{event.name"}', "json", "a macro is written like"),
        ('{"a": "{{__class__}}"}', "json", "there is no macro"),
        ('{"a": "{{event.name.x}}"}', "json", "a macro is written like"),
        ("[" * 30 + "]" * 30, "json", "levels deep"),
        ("[" * 7_000, "json", "the template is no JSON"),
        ("", "json", "the template is no JSON"),
        ("x" * 8_001, "form", "at most 8000 characters"),
        ("{{app.key}}" * 201, "form", "at most 200 macros"),
        ("a=1\nb=2", "form", "one line"),
    ],
)
def test_a_bad_template_is_refused_with_what_is_wrong(template: str, form: macros.Form, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(template, form)


def test_a_query_holds_macros_and_nothing_that_ends_it() -> None:
    check_query("click={{click.id}}&x=%20+a")
    for query in ("a=b#c", "a=b c", "a=\u00e9", "a={{x}}", "a={b}", 'a="', "a=\r\nHost: x"):
        with pytest.raises(ValueError, match=r"macro|query"):
            check_query(query)


def test_a_body_has_an_end() -> None:
    with pytest.raises(ValueError, match="larger than"):
        body('["{{campaign.name}}"]', "json", {"campaign.name": "x" * MOST_BYTES})
