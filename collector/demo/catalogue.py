"""Every partner and app of the demo marketplace, and how a page finds one.

The surprising thing: a listing is found by its plugin id alone. The slug in the address is for people, and a wrong one
is put right instead of refused.
"""

from __future__ import annotations

from collector.demo import fernhollow, pebblewick, saltlight, tallowfinch
from collector.demo.listing import App, Partner

PARTNERS: tuple[Partner, ...] = (
    fernhollow.FERNHOLLOW,
    pebblewick.PEBBLEWICK,
    saltlight.SALTLIGHT,
    tallowfinch.TALLOWFINCH,
)
APPS: tuple[App, ...] = fernhollow.LISTINGS + pebblewick.LISTINGS + saltlight.LISTINGS + tallowfinch.LISTINGS

BY_PLUGIN_ID: dict[str, App] = {app.plugin_id: app for app in APPS}
BY_KEY: dict[str, App] = {app.key: app for app in APPS}
