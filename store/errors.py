"""The failures that carry a decision: for good, for now, or for whoever set this installation up."""

from __future__ import annotations


class FootfallError(Exception):
    """Base of every failure that is told to a person in one line."""


class ConfigError(FootfallError):
    """A setting or a command's argument is wrong; the text says which and what would be right."""


class Refused(FootfallError):
    """Never again as it is: `reason` is from a closed list and counted, `detail` is for the person who can fix it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Unavailable(FootfallError):
    """Not now; `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """A database cannot be opened, read or written now."""


class Busy(FootfallError):
    """Another process holds what only one may hold."""


class Conflict(FootfallError):
    """A row breaks a rule of its table, most often that a key is there once."""
