"""A router's channels to the slot replicas of its machine, kept up with what the replicas report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from acgs.serving.channel import MAX_OUTSTANDING, Channel
from acgs.serving.replicas import ReplicaState
from acgs.serving.routing import Slot


@dataclass(frozen=True, slots=True)
class _Member:
    slot: Slot
    channel: Channel


class Channels:
    """Channels by replica. Used within one event loop."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}

    def pick(self, slot: Slot) -> Channel | None:
        """The least busy channel to a slot; None where there is none, or all have their fill."""
        open_ones = (
            member.channel
            for member in self._members.values()
            if member.slot is slot and not member.channel.lost and member.channel.outstanding < MAX_OUTSTANDING
        )
        return min(open_ones, key=lambda channel: channel.outstanding, default=None)

    async def follow(self, replicas: Iterable[ReplicaState]) -> None:
        """Connect to replicas that are new, and drop those that are gone."""
        wanted = {item.replica_id: item for item in replicas if item.slot is not None and item.channel is not None}
        for replica_id in [name for name, item in self._members.items() if name not in wanted or item.channel.lost]:
            self._members.pop(replica_id).channel.close()
        for replica_id in wanted.keys() - self._members.keys():
            state = wanted[replica_id]
            if state.slot is None or state.channel is None:
                continue
            try:
                channel = await asyncio.wait_for(Channel.connect(state.channel), timeout=5)
            except (OSError, TimeoutError):
                continue  # on another machine, or gone: Serve knows the way
            self._members[replica_id] = _Member(state.slot, channel)

    def close(self) -> None:
        """Give all up."""
        for member in self._members.values():
            member.channel.close()
        self._members.clear()
