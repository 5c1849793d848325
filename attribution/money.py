"""Money in whole minor units of its currency, so that it can be shared to the last of them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

USUAL_DIGITS = 2
UNKNOWN = "XXX"  # ISO 4217's own code for no currency
# Digits after the point, where they are not two: ISO 4217.
_DIGITS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
MOST = 10**15  # minor units: no event earns more, and sums stay within 64 bits


class Money(NamedTuple):
    """An amount in minor units; less than nothing is given back."""

    amount: int
    currency: str


def money(amount: Decimal, currency: str) -> Money | None:
    """What an event brought; None when it is nothing, or more than can be."""
    code = currency.strip().upper()
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        code = UNKNOWN
    if not amount.is_finite() or not -MOST <= amount <= MOST:  # comparing rounds nothing, and so cannot overflow
        return None
    minor = int((amount * 10 ** digits(code)).to_integral_value(ROUND_HALF_EVEN))
    return Money(minor, code) if 0 < abs(minor) <= MOST else None


def digits(currency: str) -> int:
    """How many digits of a currency stand after the point."""
    return _DIGITS.get(currency, USUAL_DIGITS)
