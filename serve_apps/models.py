"""The models application: a router with two warm slots. Which version answers whom is in the database, not in Serve.

Serve's own configuration never changes on a flip: replicas of all three deployments follow the routing table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.handle import DeploymentHandle

if TYPE_CHECKING:
    from fastapi import FastAPI

    from acgs.serving.channels import Channels
    from acgs.serving.desk import Reply
    from acgs.serving.routing import Slot

BLUE, GREEN, ROUTER = "SlotBlue", "SlotGreen", "ModelRouter"
HOLD_SECONDS = 5.0
"""A slot's replica that is to go ends within this."""
LOOK_SECONDS = 0.5


@serve.deployment
class ModelSlot:
    """One replica of a slot. It is ready when everything that the table names is loaded, or has failed."""

    async def __init__(self, slot: str) -> None:  # type: ignore[misc]  # Serve awaits it
        from acgs.observability.logs import configure_logs
        from acgs.serving.routing import Slot
        from serve_apps.models_slot import ReplicaIdentity, open_slot

        configure_logs("INFO")
        context = serve.get_replica_context()
        identity = ReplicaIdentity(context.replica_tag, context.deployment)
        # In a thread: with Serve's fast path this loop is the replica's own.
        self._replica = await asyncio.to_thread(open_slot, Slot(slot), identity)
        await self._replica.listen()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """A table may come this way too; the highest epoch wins. Returns at once: until then Serve routes nothing."""
        from serve_apps.models_slot import table_of

        table = table_of(user_config)
        if table is not None:
            self._replica.offer(table)

    def check_health(self) -> None:
        """Called by Serve."""
        self._replica.check()

    async def ask(self, model: str, version: str, question: bytes) -> tuple[str, str, bytes]:
        """See `Desk.ask`."""
        reply = await self._replica.desk.ask(model, version, question)
        return reply.kind.value, reply.version, reply.body

    async def hold(self) -> None:
        """A request that only lasts: while it does, Serve does not take the slot for idle."""
        await asyncio.sleep(HOLD_SECONDS)

    def describe(self, model: str, version: str) -> dict[str, Any]:
        """See `Desk.describe`."""
        return self._replica.desk.describe(model, version)

    async def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            await replica.leave()
            await asyncio.to_thread(replica.close)


@serve.deployment(name=ROUTER)
@serve.ingress()
class ModelRouter:
    """One replica of the router."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, blue: DeploymentHandle, green: DeploymentHandle
    ) -> None:
        from acgs.observability.logs import configure_logs
        from acgs.serving.channels import Channels
        from acgs.serving.routing import Slot
        from serve_apps.models_router import open_router
        from serve_apps.models_slot import ReplicaIdentity

        configure_logs("INFO")
        self._handles = {Slot.BLUE: blue, Slot.GREEN: green}
        self._channels = Channels()
        asks = {slot: _asking(slot, handle, self._channels) for slot, handle in self._handles.items()}
        context = serve.get_replica_context()
        identity = ReplicaIdentity(context.replica_tag, context.deployment)
        self._replica = await asyncio.to_thread(open_router, identity, asks)
        self._tasks = [asyncio.create_task(self._hold(slot)) for slot in self._handles]
        self._tasks.append(asyncio.create_task(self._connect()))

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serve_apps.models_routes import build_app

        # `guards` is the place for tokens and roles: they then stand before every route.
        return build_app(self._replica, self._describe, guards=())

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """See `ModelSlot.reconfigure`."""
        from serve_apps.models_slot import table_of

        table = table_of(user_config)
        if table is not None:
            self._replica.offer(table)

    def check_health(self) -> None:
        """Called by Serve."""
        self._replica.check()

    async def hold(self) -> None:
        """See `ModelSlot.hold`; the mlops application asks for it while there is a model to serve."""
        await asyncio.sleep(HOLD_SECONDS)

    async def _hold(self, slot: Slot) -> None:
        """Keep a slot awake as long as the table names something for it.

        The candidate is loaded before anybody asks for it, and the version to roll back to stays warm.
        """
        from acgs.errors import UnavailableError

        while True:
            if self._replica.table.wanted_in(slot):
                with suppress(UnavailableError):
                    await _reached(self._handles[slot].hold.remote())
            await asyncio.sleep(LOOK_SECONDS)

    async def _connect(self) -> None:
        """Keep up with the slot replicas of this machine."""
        from acgs.errors import UnavailableError

        while True:
            with suppress(UnavailableError):
                await self._channels.follow(await asyncio.to_thread(self._replica.live_replicas))
            await asyncio.sleep(LOOK_SECONDS)

    async def _describe(self, slot: str, model: str, version: str) -> dict[str, Any]:
        from acgs.serving.routing import Slot

        return await _reached(self._handles[Slot(slot)].describe.remote(model, version))

    async def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            for task in self._tasks:
                task.cancel()
            await replica.close()
            self._channels.close()
            await asyncio.to_thread(replica.stop)


def _asking(slot: Slot, handle: DeploymentHandle, channels: Channels) -> Callable[[str, str, bytes], Awaitable[Reply]]:
    """`Ask` over a channel of this machine where one is free, else by Serve."""
    from acgs.serving.desk import Reply, ReplyKind

    async def ask(model: str, version: str, question: bytes) -> Reply:
        channel = channels.pick(slot)
        if channel is not None:
            return await channel.ask(model, version, question)
        kind, answered, body = await _reached(handle.ask.remote(model, version, question))
        return Reply(ReplyKind(kind), answered, body)

    return ask


async def _reached(response: Any) -> Any:
    """What a slot answers.

    Raises:
        UnavailableError: it was lost on the way, or is at its limit.
    """
    from ray.exceptions import RayError
    from ray.serve.exceptions import BackPressureError, RayServeException

    from acgs.errors import UnavailableError
    from acgs.serving.dispatch import SlotBusyError

    try:
        return await response
    except BackPressureError as error:
        raise SlotBusyError("the slot has as many requests as it takes; try again") from error
    except (RayError, RayServeException) as error:
        raise UnavailableError(f"the slot was lost ({type(error).__name__}); try again") from error


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    blue = ModelSlot.options(name=BLUE).bind("blue")
    green = ModelSlot.options(name=GREEN).bind("green")
    return ModelRouter.bind(blue, green)
