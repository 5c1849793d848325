"""The fake's own time, and the spelling of instants on the wire.

The clock can be moved and stopped, because the 24 hours of de-duplication and the 14 days of an unattended source
are rules of this clock, not of the machine's. Instants outside the years 1900 to 2200 count as unreadable, which
keeps the arithmetic of landing away from the ends of the calendar.
"""

from datetime import UTC, datetime, timedelta


class Clock:
    """Runs with the machine's clock until it is moved or stopped."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.stopped_at: datetime | None = None

    def now(self) -> datetime:
        return (self.stopped_at or datetime.now(UTC)) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)

    def stop(self, at: datetime) -> None:
        self.stopped_at, self.ahead = at, timedelta(0)


def instant(value: object) -> datetime | None:
    """Read an ISO 8601 text as UTC; None for anything else. Without an offset it is taken as UTC."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    if not 1900 < read.year < 2200:
        return None
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)


def iso(at: datetime) -> str:
    """Spell a UTC instant as Segment does: milliseconds (cut, not rounded) and Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
