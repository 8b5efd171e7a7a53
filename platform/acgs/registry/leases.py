"""Who is busy with the artifact store: files may be added by many at a time, and collected only while nobody adds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from acgs.errors import UnavailableError


class Purpose(StrEnum):
    """What a lease is for."""

    ADD = "add"
    COLLECT = "collect"


class StoreBusyError(UnavailableError):
    """Somebody else uses the store in a way that excludes this."""

    code = "store_busy"


class Lease(Protocol):
    """A right for a limited time."""

    lease_id: str

    def renew(self) -> None:
        """Keep it. Cheap to call often.

        Raises:
            StoreBusyError: it ran out, and somebody else may be at work.
        """


class Leases(Protocol):
    """Rights to add and to collect."""

    def take(self, purpose: Purpose, holder: str) -> AbstractContextManager[Lease]:
        """A lease for the length of a block; a process that dies loses it after some minutes.

        Raises:
            StoreBusyError: somebody collects, or, for collecting, somebody is at work at all.
        """
