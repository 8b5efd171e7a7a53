"""Model folders that come as the body of a request: bounded, written to disk as they come, gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from acgs.errors import InvalidInputError, RateLimitedError, UnavailableError
from acgs.registry.model_version import Description
from acgs.registry.unpacking import unpack
from serve_apps.http import BodyTooLargeError

AT_ONCE: Final = 2
"""Uploads of a replica; each may fill the disk with as much as one may have."""
RETRY_SECONDS: Final = 30.0
QUIET_SECONDS: Final = 60.0
"""So long may nothing come; a caller that has gone or dawdles keeps others out."""
UPLOAD_SECONDS: Final = 3600.0
LEAVINGS_SECONDS: Final = 86_400.0
LEAST_RATE: Final = 16 * 1024
"""Bytes a second that come on average, but for the time in which nothing may come."""
_PREFIX: Final = "acgs-upload-"
MAX_DESCRIPTION_CHARS: Final = 16 * 1024
OPENAPI: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class StalledError(InvalidInputError):
    """The body does not come, or comes too slowly."""

    code = "body_stalled"


class Uploads:
    """Takes uploads in, so many at a time."""

    def __init__(self, most_bytes: int, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._most_bytes = most_bytes
        self._quiet_seconds = quiet_seconds
        self._free = threading.BoundedSemaphore(AT_ONCE)
        _remove_leavings()

    @asynccontextmanager
    async def folder(self, request: Request) -> AsyncIterator[Path]:
        """The folder in the tar that is the request's body; it is gone when the block ends.

        Raises:
            RateLimitedError: others are at it.
            BodyTooLargeError: it is larger than may be, by its header or as it comes.
            StalledError: it does not come within its time.
            InvalidInputError: it is no tar of plain files.
            UnavailableError: the disk is full.
        """
        if not self._free.acquire(blocking=False):
            raise RateLimitedError("other models are sent at the moment; come back later", retry_after=RETRY_SECONDS)
        try:
            with tempfile.TemporaryDirectory(prefix=_PREFIX) as place:
                folder = Path(place) / "model"
                try:
                    await self._take(request, Path(place) / "archive.tar", folder)
                except OSError as error:
                    raise UnavailableError(f"the archive cannot be kept: {error.strerror}") from error
                yield folder
        finally:
            self._free.release()

    async def _take(self, request: Request, archive: Path, folder: Path) -> None:
        await self._receive(request, archive)
        folder.mkdir()
        await asyncio.to_thread(unpack, archive, folder)
        archive.unlink()

    async def _receive(self, request: Request, archive: Path) -> None:
        declared, size = request.headers.get("content-length", "0"), 0
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self._too_large()
        with archive.open("xb") as written:
            async for chunk in self._in_time(request.stream()):
                size += len(chunk)
                if size > self._most_bytes:
                    raise self._too_large()
                await asyncio.to_thread(written.write, chunk)

    async def _in_time(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        begun, size = time.monotonic(), 0
        while True:
            # So long that the rate is still kept if the next piece comes by then; an hour is enough for anybody.
            ends = begun + min(self._quiet_seconds + size / LEAST_RATE, UPLOAD_SECONDS)
            patience = min(self._quiet_seconds, ends - time.monotonic())
            try:
                chunk = await asyncio.wait_for(anext(chunks), patience)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise StalledError(
                    f"the archive comes too slowly: something has to come every {self._quiet_seconds:g} s, "
                    f"{LEAST_RATE // 1024} KiB a second on average, and all of it within {UPLOAD_SECONDS:g} s",
                    field="body",
                ) from None
            except ClientDisconnect:
                raise StalledError("the caller has gone", field="body") from None
            size += len(chunk)
            yield chunk

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the archive has more than {self._most_bytes} bytes (ACGS_MAX_UPLOAD_BYTES)", field="body"
        )


def _remove_leavings() -> None:
    """Remove what replicas left that were killed: what is older than any upload, and its way into the store, lasts."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if place.stat().st_uid == os.getuid() and time.time() - place.stat().st_mtime > LEAVINGS_SECONDS:
                shutil.rmtree(place)


def described(text: str | None) -> dict[str, Any]:
    """What a request says of the version that it brings, from JSON.

    Raises:
        InvalidInputError: it is no JSON object, or has a field that no description has.
    """
    if text is None:
        return {}
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise InvalidInputError("describe is a JSON object", field="describe")
    if unknown := sorted(set(fields) - set(Description.model_fields)):
        raise InvalidInputError(f"describe has no field {unknown[0]!r}", field="describe")
    return fields
