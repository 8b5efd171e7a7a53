"""Group commit: everybody who waits at the same time shares one flush."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from acgs.errors import AuditWriteError


class GroupCommit:
    """Runs a blocking `flush` in an executor, one at a time, for all who wait on one event loop.

    Whoever asks while a flush runs gets the next one, because the running one may have begun before his record was
    written. There is no lock: all state changes happen on the loop.
    """

    def __init__(self, flush: Callable[[], None], executor: Executor) -> None:
        self._flush = flush
        self._executor = executor
        self._next: asyncio.Future[None] | None = None
        self._worker: asyncio.Task[None] | None = None

    async def flushed(self) -> None:
        """Return after a flush that began after this call. Raises what that flush raised."""
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = loop.create_future()
            # All waiters may be cancelled; the flush's error is then nobody's.
            self._next.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self._worker is None:
            self._worker = loop.create_task(self._work(loop))
        await asyncio.shield(self._next)

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while (batch := self._next) is not None:
                self._next = None
                await self._flush_for(batch, loop)
        finally:
            self._worker = None

    async def _flush_for(self, batch: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        try:
            await loop.run_in_executor(self._executor, self._flush)
        except asyncio.CancelledError:
            batch.cancel()
            raise
        except AuditWriteError as error:
            batch.set_exception(error)
        except (OSError, RuntimeError) as error:
            batch.set_exception(AuditWriteError(f"the audit flush could not run: {error}"))
        else:
            batch.set_result(None)
