"""Opens what delivers, from the settings."""

from __future__ import annotations

from typing import Final

from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.registry.webhooks.delivering import Deliverer, client
from acgs.registry.webhooks.signature import WebhookSecret
from acgs.registry.webhooks.sql_store import SqlWebhookStore
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.migrate import upgrade

_SECRET: Final = ("keys", "webhook.secret")


def open_webhooks(settings: Settings) -> SqlWebhookStore:
    """The store in the platform's database; its tables are made on first use."""
    engine = open_engine(configured_url(settings))
    upgrade(engine)
    return SqlWebhookStore(engine)


def open_secret(settings: Settings) -> WebhookSecret:
    """The secret of `ACGS_WEBHOOK_SECRET`, or one made on first use in the state directory."""
    path = settings.webhook_secret_path or settings.state_dir.resolve().joinpath(*_SECRET)
    path.parent.mkdir(parents=True, exist_ok=True)
    return WebhookSecret.load_or_create(path)


def open_deliverer(settings: Settings) -> Deliverer:
    """What sends to all subscribers."""
    engine = open_engine(configured_url(settings))
    upgrade(engine)
    return Deliverer(SqlWebhookStore(engine), SqlEventLog(engine), open_secret(settings), client())
