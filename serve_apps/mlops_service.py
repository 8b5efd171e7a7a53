"""One replica of the mlops application: moves releases on, feeds the audit log and webhooks, acts for callers.

Each of the three loops may run in any number of processes; what one of them did is not done again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import structlog

from acgs.errors import AcgsError
from acgs.mlops import MLOpsManager
from acgs.mlops.staging_process import MeasuringApart
from acgs.registry.webhooks.delivering import Deliverer
from acgs.registry.webhooks.opening import open_deliverer, open_webhooks
from acgs.registry.webhooks.sql_store import SqlWebhookStore
from acgs.release.controller import ReleaseController
from acgs.security.admission import Admission, open_admission
from acgs.settings import Settings
from serve_apps.mlops_uploads import Uploads


class MLOpsService:
    """Opened once a replica. All methods block; routes call them in threads."""

    def __init__(
        self,
        manager: MLOpsManager,
        admission: Admission,
        webhooks: SqlWebhookStore,
        deliverer: Deliverer,
        measuring: MeasuringApart,
    ) -> None:
        self.manager = manager
        self.admission = admission
        self.webhooks = webhooks
        self.uploads = Uploads(manager.settings.max_upload_bytes)
        self._deliverer = deliverer
        self._measuring = measuring
        self._controller: ReleaseController = manager.controller
        self._log = structlog.get_logger("mlops")
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> dict[str, str]:
        """What does not work at the moment, by loop; empty when all does."""
        return dict(self._faults)

    def tick(self) -> None:
        """Move releases on, and carry their events into the audit log. What fails is logged, and tried at the next."""
        self._do("releases", self._controller.tick)
        self._do("audit", self.manager.registry.carry_over)

    def deliver(self) -> None:
        """One round of webhooks."""
        self._do("webhooks", self._deliverer.deliver_due)

    def models_are_wanted(self) -> bool:
        """Whether the routing table names a version: then the models application has to be awake.

        Raises:
            UnavailableError: the database cannot be used.
        """
        return bool(self.manager.serving.latest().versions())

    def close(self) -> None:
        """End the process that measures a version, if one does."""
        self._measuring.close()

    def health(self) -> dict[str, Any]:
        """Whether every loop did its work the last time."""
        return {"status": "degraded" if self._faults else "ok", "faults": self.faults}

    def _do(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round must come
            reason = error.message if isinstance(error, AcgsError) else type(error).__name__
            if self._faults.get(what) != reason:
                self._log.error("round failed", loop=what, reason=reason)
            self._faults[what] = reason
        else:
            with contextlib.suppress(KeyError):
                del self._faults[what]


def open_service(settings: Settings) -> MLOpsService:
    """From the environment's settings.

    Raises:
        AcgsError: the database, the artifact store or a key cannot be used.
    """
    measuring = MeasuringApart(settings)
    manager = MLOpsManager(settings, measuring=measuring)
    # Opened before the first request, and shared by all that act through it.
    _ = manager.registry, manager.constitution
    return MLOpsService(manager, open_admission(settings), open_webhooks(settings), open_deliverer(settings), measuring)
