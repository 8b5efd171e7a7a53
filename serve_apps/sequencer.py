"""The audit sequencer: one replica that merges every replica's journal into the one log, again and again."""

from __future__ import annotations

import asyncio

import structlog
from ray import serve

from acgs.errors import AcgsError

_PERIOD_SECONDS = 1.0


@serve.deployment(name="AuditSequencer")
class AuditSequencer:
    """Merges journals in a thread. An error is logged and tried again; journals wait safely meanwhile."""

    def __init__(self) -> None:
        from acgs.audit.installation import audit_directory, signing_key
        from acgs.audit.layout import DEFAULT_ORIGIN
        from acgs.audit.notes import VerifierKey
        from acgs.audit.trust import publish_key
        from acgs.observability.logs import configure_logs
        from acgs.settings import Settings

        settings = Settings()
        configure_logs(settings.log_level)
        self._log = structlog.get_logger("sequencer")
        self._directory = audit_directory(settings)
        self._key = signing_key(settings)
        publish_key(self._directory, VerifierKey(DEFAULT_ORIGIN, self._key.public))
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        from acgs.audit.sequencer import sequence

        while True:
            try:
                await asyncio.to_thread(sequence, self._directory, self._key)
            except AcgsError as error:
                self._log.error("sequencing failed", error_type=error.code, reason=error.message)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def checkpoint(self) -> str | None:
        """The latest signed checkpoint, or None before the first."""
        path = self._directory.log / "checkpoint"
        return path.read_text(encoding="utf-8") if path.exists() else None
