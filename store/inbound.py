"""What a partner's own systems need to know to send here, of one app."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from store.registry import App
from store.secrets import Vault

NOT_TOLD = "http://127.0.0.1:8000"  # where `footfall serve` is, unless it is told otherwise


class Inbound(msgspec.Struct, frozen=True):
    """`host` is for clients that add the path themselves, `api_host` for those that do not add the protocol. The
    webhook's secret is that of the newest key."""

    host: str
    api_host: str
    ingest_key: str
    guid: str
    webhook: str
    webhook_secret: str


def inbound(app: App, vault: Vault, public_url: str | None) -> Inbound:
    host = public_url or NOT_TOLD
    parts = urlsplit(host)
    return Inbound(
        host,
        f"{parts.netloc}{parts.path}/v1",
        app.ingest_key,
        app.guid,
        f"{host}/webhooks/segment/{app.guid}",
        vault.webhook_secrets(app.guid)[0],
    )
