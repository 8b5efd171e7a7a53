"""Where subscriptions and deliveries are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from acgs.registry.webhooks.subscription import Delivery, Subscription


class WebhookStore(Protocol):
    """Shared by all who deliver. All raise `UnavailableError` if the store cannot be used."""

    def add(self, url: str, topics: Sequence[str], *, actor: str) -> Subscription:
        """Subscribe to what happens from now on.

        Raises:
            InvalidInputError: the address cannot be used, or no topic is given.
        """
        ...

    def remove(self, webhook_id: str, *, actor: str) -> None:
        """Unsubscribe; its deliveries are forgotten. Raises `UnknownWebhookError`."""
        ...

    def subscriptions(self) -> list[Subscription]:
        """All, in the order in which they were made."""
        ...

    def enqueue(self) -> int:
        """Make a delivery of every event for everybody who subscribed to it; how many are new."""
        ...

    def claim(self, now: float, *, until: float, limit: int) -> list[Delivery]:
        """Deliveries that are due, taken out of the others' reach until `until`, when they are due again."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """Keep how a try went."""
        ...

    def deliveries(self, webhook_id: str | None = None, *, limit: int = 100) -> list[Delivery]:
        """The history, latest event first."""
        ...
