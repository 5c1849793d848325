"""Money is counted in whole minor units of its currency."""

from decimal import Decimal

import pytest

from attribution.money import Money, money


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("12.34", "EUR", Money(1234, "EUR")),
        ("12", "usd", Money(1200, "USD")),
        ("12.4", "JPY", Money(12, "JPY")),
        ("1.2345", "KWD", Money(1234, "KWD")),
        ("-3.5", "EUR", Money(-350, "EUR")),
        ("0.005", "EUR", None),
        ("0.015", "EUR", Money(2, "EUR")),
        ("1", "", Money(100, "XXX")),
        ("1", "€", Money(100, "XXX")),
        ("NaN", "EUR", None),
        ("Infinity", "EUR", None),
        ("1e30", "EUR", None),
        ("1e9999999", "EUR", None),
        ("-1e9999999", "EUR", None),
        ("9999999999999", "EUR", Money(999999999999900, "EUR")),
    ],
)
def test_an_amount_is_in_minor_units(amount: str, currency: str, expected: Money | None) -> None:
    assert money(Decimal(amount), currency) == expected
