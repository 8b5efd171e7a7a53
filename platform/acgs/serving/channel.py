"""A router and a slot's replica on one machine, joined by a socket file that only their user can open.

Serve's own way to another replica costs a multiple of a small prediction. This one carries frames, many requests at
once over one connection. Requests beyond `MAX_OUTSTANDING`, and replicas on other machines, go by Serve.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from acgs.errors import UnavailableError
from acgs.serving.desk import Desk, Reply, ReplyKind

MAX_OUTSTANDING: Final = 16
"""Requests of one router with one replica. The rest is left to Serve, which adds replicas when it is busy."""
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
_HEAD: Final = struct.Struct("!IQ")
"""Bytes that follow, number of the request."""
_QUESTION: Final = struct.Struct("!HH")
"""Lengths of model and version; the question follows."""
_REPLY: Final = struct.Struct("!BH")
"""Kind, length of version; the body follows."""
_KINDS: Final = tuple(ReplyKind)
_CLOSE_SECONDS: Final = 10.0


class ChannelServer:
    """Answers on a socket file for a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._folder = Path()
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def answering(self) -> int:
        """Requests that were taken and not answered yet."""
        return len(self._answers)

    async def open(self) -> str:
        """Listen; the path of the socket file."""
        self._folder = Path(tempfile.mkdtemp(prefix="acgs-slot-"))  # for its owner only
        path = self._folder / "socket"
        self._server = await asyncio.start_unix_server(self._serve, path)
        return str(path)

    async def close(self) -> None:
        """Take no more, answer what was taken, and remove the file."""
        if self._server is None:
            return
        self._server.close()
        if self._answers:
            await asyncio.wait(self._answers, timeout=_CLOSE_SECONDS)
        for writer in self._connections:
            writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                number, frame = await _read(reader)
                task = asyncio.create_task(self._answer(number, frame, writer))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the router has gone
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, number: int, frame: bytes, writer: asyncio.StreamWriter) -> None:
        model_length, version_length = _QUESTION.unpack_from(frame)
        model_end = _QUESTION.size + model_length
        version_end = model_end + version_length
        model, version = frame[_QUESTION.size : model_end].decode(), frame[model_end:version_end].decode()
        reply = await self._desk.ask(model, version, frame[version_end:])
        name = reply.version.encode()
        head = _REPLY.pack(_KINDS.index(reply.kind), len(name))
        with suppress(OSError):
            _write(writer, number, head + name + reply.body)
            await writer.drain()


class Channel:
    """A router's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0
        self.lost = False
        self._reading = asyncio.create_task(self._read_replies(reader))

    @classmethod
    async def connect(cls, path: str) -> Channel:
        """Connect to a socket file of this user's.

        Raises:
            OSError: nobody listens there, or the file is another user's.
        """
        if Path(path).stat().st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user")
        return cls(*await asyncio.open_unix_connection(path))

    @property
    def outstanding(self) -> int:
        """Requests that wait for their answer."""
        return len(self._waiting)

    async def ask(self, model: str, version: str, question: bytes) -> Reply:
        """See `Desk.ask`.

        Raises:
            UnavailableError: the replica was lost.
        """
        if self.lost:
            raise UnavailableError("the slot's replica was lost; try again")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        names = (model.encode(), version.encode())
        try:
            _write(self._writer, number, _QUESTION.pack(*map(len, names)) + b"".join(names) + question)
            return await answer
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Give the connection up; who waits is told."""
        self._reading.cancel()
        self._give_up()

    async def _read_replies(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, frame = await _read(reader)
                kind, length = _REPLY.unpack_from(frame)
                end = _REPLY.size + length
                reply = Reply(_KINDS[kind], frame[_REPLY.size : end].decode(), frame[end:])
                answer = self._waiting.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except (asyncio.IncompleteReadError, OSError):
            self._give_up()

    def _give_up(self) -> None:
        self.lost = True
        self._writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UnavailableError("the slot's replica was lost; try again"))


def _write(writer: asyncio.StreamWriter, number: int, frame: bytes) -> None:
    writer.write(_HEAD.pack(len(frame), number) + frame)


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One frame. Raises `OSError` for one that is too long."""
    length, number = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > MAX_FRAME_BYTES:
        raise OSError("a frame is too long")
    return number, await reader.readexactly(length)
