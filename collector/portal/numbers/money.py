"""Money as people and spreadsheets read it. Amounts are whole numbers of a currency's smallest unit. Pure."""

from __future__ import annotations

from attribution.money import digits


def amount(units: int, currency: str) -> float:
    """For a table: exact for all sums that are ever earned."""
    places = digits(currency)
    return float(f"{units // 10**places}.{units % 10**places:0{places}d}") if units >= 0 else -amount(-units, currency)


def money(units: int, currency: str) -> str:
    """With thin spaces between thousands, and without the currency's name."""
    return decimal(units, digits(currency))


def decimal(units: int, places: int) -> str:
    """A whole number of the smallest parts, with a point before the last so many."""
    whole, part = divmod(abs(units), 10**places)
    said = f"{whole:,}".replace(",", "\u202f") + (f".{part:0{places}d}" if places else "")
    return f"\u2212{said}" if units < 0 else said
