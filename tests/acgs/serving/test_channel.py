"""Router and slot on one machine: many requests over one connection, each with its own answer, and no silence."""

from __future__ import annotations

import asyncio
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from acgs.errors import UnavailableError
from acgs.serving.batching import FEW_INSTANCES
from acgs.serving.channel import MAX_FRAME_BYTES, MAX_OUTSTANDING, Channel, ChannelServer
from acgs.serving.channels import Channels
from acgs.serving.desk import SMALL_BYTES, Desk, Reply, ReplyKind, question_of
from acgs.serving.keeper import Keeper
from acgs.serving.replicas import ReplicaState
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.served import ServedVersion
from tests.acgs.serving.doubles import StandIn, version

GATE = threading.Event()
RUNTIMES: list[StandIn] = []


@pytest.fixture
def desk() -> Iterator[Desk]:
    GATE.clear()

    def load(_model: str, name: str) -> ServedVersion:
        RUNTIMES.append(StandIn(gate=GATE))
        return version(RUNTIMES[-1], name)

    keeper = Keeper(Slot.BLUE, load, lambda: None)
    keeper.follow(RoutingTable(epoch=1, models={"triage": ModelRoute(blue="1.0.0-rc.1")}))
    assert keeper.settle(60)
    yield Desk(keeper)
    GATE.set()
    keeper.close()


def state(path: str, name: str = "b1") -> ReplicaState:
    return ReplicaState(name, "SlotBlue", Slot.BLUE, 1, 0.0, 0.0, channel=path)


def ask(channel: Channel, *instances: object, name: str = "1.0.0-rc.1") -> asyncio.Task[Reply]:
    return asyncio.create_task(channel.ask("triage", name, question_of(list(instances), {})))


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():
            await asyncio.sleep(0.005)


def test_requests_share_a_connection_and_each_gets_its_own_answer(desk: Desk) -> None:
    async def run() -> None:
        GATE.set()
        server = ChannelServer(desk)
        channel = await Channel.connect(await server.open())
        replies = await asyncio.gather(*(channel.ask("triage", "1.0.0-rc.1", question_of([n], {})) for n in range(200)))
        assert [reply.body for reply in replies] == [b'{"predictions":[%d]}' % (2 * n) for n in range(200)]
        assert {(reply.kind, reply.version) for reply in replies} == {(ReplyKind.ANSWERED, "1.0.0-rc.1")}
        kinds: dict[str, tuple[ReplyKind, list[object]]] = {
            "9.0.0": (ReplyKind.NOT_HELD, [1]),
            "1.0.0-rc.1": (ReplyKind.REFUSED, ["x"]),
        }
        for name, (kind, instances) in kinds.items():
            assert (await channel.ask("triage", name, question_of(instances, {}))).kind is kind
        assert (await channel.ask("triage", "1.0.0-rc.1", question_of([-1], {}))).kind is ReplyKind.FAILED
        assert channel.outstanding == 0
        channel.close()
        await server.close()

    uvloop.run(run())  # as Serve does


def test_the_socket_is_for_its_owner_and_goes_with_the_server(desk: Desk) -> None:
    async def run() -> None:
        server = ChannelServer(desk)
        path = Path(await server.open())
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await server.close()
        assert not path.parent.exists()
        with pytest.raises(OSError, match=r"."):
            await Channel.connect(str(path))

    uvloop.run(run())  # as Serve does


def test_whoever_waits_for_a_lost_replica_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        lost: list[asyncio.StreamWriter] = []
        server = await asyncio.start_unix_server(
            lambda _reader, writer: lost.append(writer), path := str(tmp_path / "s")
        )
        channel = await Channel.connect(path)
        waiting = ask(channel, 1)
        await until(lambda: bool(lost) and channel.outstanding == 1)
        lost[0].close()
        with pytest.raises(UnavailableError, match="lost"):
            await waiting
        assert channel.lost
        with pytest.raises(UnavailableError):
            await channel.ask("triage", "1.0.0", b"")
        server.close()

    uvloop.run(run())  # as Serve does


def test_a_server_removes_what_killed_ones_left_and_nothing_else(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "acgs-slot-left" / "socket"
    left.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))

    async def run() -> None:
        server, later = ChannelServer(desk), ChannelServer(desk)
        path = await server.open()
        assert not left.parent.exists()
        await later.open()
        (await Channel.connect(path)).close()
        await server.close()
        await later.close()

    uvloop.run(run())


def test_a_server_that_leaves_answers_what_it_took(desk: Desk) -> None:
    async def run() -> None:
        server = ChannelServer(desk)
        channel = await Channel.connect(await server.open())
        waiting = ask(channel, 4)
        await until(lambda: server.answering == 1)
        threading.Timer(0.1, GATE.set).start()
        await server.close()
        assert (await waiting).body == b'{"predictions":[8]}'

    uvloop.run(run())  # as Serve does


def test_a_router_takes_the_least_busy_channel_and_leaves_the_rest_to_serve(desk: Desk) -> None:
    async def run() -> None:
        servers = [ChannelServer(desk) for _ in range(2)]
        states = [state(await server.open(), f"b{number}") for number, server in enumerate(servers)]
        channels = Channels()
        await channels.follow([*states, state("/nowhere", "elsewhere"), ReplicaState("r", "R", None, 1, 0.0, 0.0)])
        assert channels.pick(Slot.GREEN) is None
        waiting = []
        for _ in range(2 * MAX_OUTSTANDING):
            channel = channels.pick(Slot.BLUE)
            assert channel is not None
            waiting.append(ask(channel, 1))
            await asyncio.sleep(0)
        assert channels.pick(Slot.BLUE) is None
        GATE.set()
        await asyncio.gather(*waiting)
        await channels.follow(states[:1])
        kept = channels.pick(Slot.BLUE)
        await channels.follow([])
        assert kept is not None
        assert kept.lost
        assert channels.pick(Slot.BLUE) is None
        channels.close()
        for server in servers:
            await server.close()

    uvloop.run(run())  # as Serve does


def test_frames_come_whole_however_they_are_cut(desk: Desk) -> None:
    async def run() -> None:
        GATE.set()
        server = ChannelServer(desk)
        reader, writer = await asyncio.open_unix_connection(await server.open())
        names = (b"triage", b"1.0.0-rc.1")
        frame = struct.pack("!HH", *map(len, names)) + b"".join(names) + question_of([3], {})
        sent = b"".join(struct.pack("!IQ", len(frame), number) + frame for number in range(3))
        for byte in sent:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        for number in range(3):
            length, answered = struct.unpack("!IQ", await reader.readexactly(12))
            assert (answered, (await reader.readexactly(length))[-19:]) == (number, b'{"predictions":[6]}')
        writer.close()
        await server.close()

    uvloop.run(run())


def test_a_frame_beyond_the_limit_ends_the_connection(desk: Desk) -> None:
    async def run() -> None:
        server = ChannelServer(desk)
        reader, writer = await asyncio.open_unix_connection(await server.open())
        writer.write(struct.pack("!IQ", MAX_FRAME_BYTES + 1, 1))
        assert await reader.read() == b""
        writer.close()
        await server.close()

    uvloop.run(run())


def test_a_quick_model_answers_a_small_question_that_is_alone_without_its_thread(desk: Desk) -> None:
    async def run() -> None:
        GATE.set()
        server = ChannelServer(desk)
        channel = await Channel.connect(await server.open())
        worker = desk._keeper.worker("triage", "1.0.0-rc.1")
        worker._clock = lambda: 0.0
        for _ in range(200):
            await channel.ask("triage", "1.0.0-rc.1", question_of([1], {}))
        for parameters, here in (({}, True), ({"padding": "x" * SMALL_BYTES}, False)):
            reply = await channel.ask("triage", "1.0.0-rc.1", question_of([7], parameters))
            assert reply.body == b'{"predictions":[14]}'
            assert (RUNTIMES[-1].threads[-1] is threading.current_thread()) is here
        GATE.clear()
        busy = ask(channel, *range(FEW_INSTANCES + 1))
        await until(lambda: server.answering == 1)
        GATE.set()
        assert (await ask(channel, 8)).body == b'{"predictions":[16]}'
        assert RUNTIMES[-1].threads[-1] is not threading.current_thread()
        await busy
        channel.close()
        await server.close()

    uvloop.run(run())
