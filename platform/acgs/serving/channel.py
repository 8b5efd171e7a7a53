"""A router and a slot's replica on one machine, joined by a socket file that only their user can open.

Serve's own way to another replica costs a multiple of a small prediction. This one carries frames, many requests at
once over one connection. Requests beyond `MAX_OUTSTANDING`, and replicas on other machines, go by Serve.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

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
_FOLDER: Final = "acgs-slot-"
_SOCKET: Final = "socket"


class _Frames(asyncio.Protocol):
    """A connection that is cut into frames. Streams would wake a task for each; here a frame is taken as it arrives."""

    def __init__(self, taken: Callable[[_Frames, int, bytes], None], ended: Callable[[_Frames], None]) -> None:
        self._taken = taken
        self._ended = ended
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        buffer = self._buffer
        buffer += data
        begin = 0
        while len(buffer) - begin >= _HEAD.size:
            length, number = _HEAD.unpack_from(buffer, begin)
            if length > MAX_FRAME_BYTES:
                self.close()
                return
            end = begin + _HEAD.size + length
            if len(buffer) < end:
                break
            self._taken(self, number, bytes(buffer[begin + _HEAD.size : end]))
            begin = end
        del buffer[:begin]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._ended(self)

    def send(self, number: int, frame: bytes) -> None:
        """Send a frame; one for a connection that is gone is dropped."""
        if self._transport is not None:
            self._transport.write(_HEAD.pack(len(frame), number) + frame)

    def close(self) -> None:
        """Send what was given, then close."""
        if self._transport is not None:
            self._transport.close()


class ChannelServer:
    """Answers on a socket file for a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._folder = Path()
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._connections: set[_Frames] = set()

    @property
    def answering(self) -> int:
        """Requests that were taken and not answered yet."""
        return len(self._answers)

    async def open(self) -> str:
        """Listen; the path of the socket file."""
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=_FOLDER))  # for its owner only
        path = self._folder / _SOCKET
        self._server = await asyncio.get_running_loop().create_unix_server(self._connection, path)
        return str(path)

    async def close(self) -> None:
        """Take no more, answer what was taken, and remove the file."""
        if self._server is None:
            return
        self._server.close()
        if self._answers:
            await asyncio.wait(self._answers, timeout=_CLOSE_SECONDS)
        for connection in list(self._connections):
            connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connection(self) -> _Frames:
        connection = _Frames(self._take, self._connections.discard)
        self._connections.add(connection)
        return connection

    def _take(self, connection: _Frames, number: int, frame: bytes) -> None:
        asked = _question(frame)
        # A task of its own would cost more than the answer of a quick model.
        reply = None if self._answers else self._desk.ask_here(*asked)
        if reply is not None:
            connection.send(number, _framed(reply))
            return
        task = asyncio.create_task(self._answer(connection, number, asked))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, connection: _Frames, number: int, asked: tuple[str, str, bytes]) -> None:
        connection.send(number, _framed(await self._desk.ask(*asked)))


def _sweep() -> None:
    """Remove what replicas left that were killed: folders of this user's where nobody listens any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/{_SOCKET}"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            if path.stat().st_uid != os.getuid():
                continue
            probe.setblocking(False)  # one that is too busy to answer lives
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                shutil.rmtree(path.parent, ignore_errors=True)


def _question(frame: bytes) -> tuple[str, str, bytes]:
    model_length, version_length = _QUESTION.unpack_from(frame)
    model_end = _QUESTION.size + model_length
    version_end = model_end + version_length
    return frame[_QUESTION.size : model_end].decode(), frame[model_end:version_end].decode(), frame[version_end:]


def _framed(reply: Reply) -> bytes:
    name = reply.version.encode()
    return _REPLY.pack(_KINDS.index(reply.kind), len(name)) + name + reply.body


class Channel:
    """A router's end of one connection."""

    def __init__(self) -> None:
        self._connection = _Frames(self._take, self._give_up)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0
        self.lost = False

    @classmethod
    async def connect(cls, path: str) -> Channel:
        """Connect to a socket file of this user's.

        Raises:
            OSError: nobody listens there, or the file is another user's.
        """
        if Path(path).stat().st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user")
        channel = cls()
        await asyncio.get_running_loop().create_unix_connection(lambda: channel._connection, path)
        return channel

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
            self._connection.send(number, _QUESTION.pack(*map(len, names)) + b"".join(names) + question)
            return await answer
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Give the connection up; who waits is told."""
        self._give_up(self._connection)

    def _take(self, _connection: _Frames, number: int, frame: bytes) -> None:
        kind, length = _REPLY.unpack_from(frame)
        end = _REPLY.size + length
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(Reply(_KINDS[kind], frame[_REPLY.size : end].decode(), frame[end:]))

    def _give_up(self, connection: _Frames) -> None:
        self.lost = True
        connection.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UnavailableError("the slot's replica was lost; try again"))
