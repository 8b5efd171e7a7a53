"""The second tier as a deployment of its own: MiniLM with dynamic batching, started when first asked."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve

from acgs.errors import AcgsError, UnavailableError

_MAX_BATCH = 32
_BATCH_WAIT_SECONDS = 0.005


@serve.deployment(name="SecondTier")
class SecondTierDeployment:
    """Scores texts with the bundle's adapter. Without torch it starts all the same and refuses with the reason."""

    def __init__(self) -> None:
        from acgs.constitution.source import load_locked
        from acgs.governance.bundle import SECOND_TIER, load_bundle
        from acgs.governance.second_tier import SecondTier
        from acgs.settings import Settings

        self._tier: Any = None
        self._reason = ""
        settings = Settings()
        try:
            bundle = load_bundle(load_locked(settings.constitution_path), settings.bundle_path)
            self._tier = SecondTier((bundle.directory / SECOND_TIER).read_bytes())
        except AcgsError as error:
            self._reason = error.message

    async def logits(self, texts: list[str]) -> NDArray[np.float32]:
        """Logits of each text, shape (len(texts), heads)."""
        if self._tier is None:
            raise UnavailableError(self._reason)
        return np.stack(await asyncio.gather(*(self._score(text) for text in texts)))

    @serve.batch(max_batch_size=_MAX_BATCH, batch_wait_timeout_s=_BATCH_WAIT_SECONDS)
    async def _score(self, texts: list[str]) -> list[NDArray[np.float32]]:
        rows = await asyncio.to_thread(self._tier.logits, texts)
        return list(rows)
