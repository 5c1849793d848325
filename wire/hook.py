"""What a webhook's request is made of: an address and a template, filled with values. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wire import macros


class Hook(msgspec.Struct, frozen=True):
    """Where one request goes and what it carries. `secrets` sign, the newest first."""

    url: str
    form: macros.Form
    template: str
    secrets: Sequence[str]

    def request(self, values: macros.Values) -> tuple[str, bytes]:
        """The address and the body for these values. Raises ValueError when the body is too large."""
        base, mark, query = self.url.partition("?")
        return base + mark + macros.encoded(query, values), macros.body(self.template, self.form, values)
