"""The models application: a router with two warm slots. Which version answers whom is in the database, not in Serve.

Serve's own configuration never changes on a flip: replicas of all three deployments follow the routing table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.handle import DeploymentHandle

if TYPE_CHECKING:
    from fastapi import FastAPI

    from acgs.serving.desk import Reply

BLUE, GREEN, ROUTER = "SlotBlue", "SlotGreen", "ModelRouter"


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

    def describe(self, model: str, version: str) -> dict[str, Any]:
        """See `Desk.describe`."""
        return self._replica.desk.describe(model, version)

    async def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            await asyncio.to_thread(replica.close)


@serve.deployment(name=ROUTER)
@serve.ingress()
class ModelRouter:
    """One replica of the router."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, blue: DeploymentHandle, green: DeploymentHandle
    ) -> None:
        from acgs.observability.logs import configure_logs
        from acgs.serving.routing import Slot
        from serve_apps.models_router import open_router
        from serve_apps.models_slot import ReplicaIdentity

        configure_logs("INFO")
        self._handles = {Slot.BLUE: blue, Slot.GREEN: green}
        asks = {slot: _asking(handle) for slot, handle in self._handles.items()}
        context = serve.get_replica_context()
        identity = ReplicaIdentity(context.replica_tag, context.deployment)
        self._replica = await asyncio.to_thread(open_router, identity, asks)

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

    async def _describe(self, slot: str, model: str, version: str) -> dict[str, Any]:
        from acgs.serving.routing import Slot

        return await _reached(self._handles[Slot(slot)].describe.remote(model, version))

    async def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            await replica.close()
            await asyncio.to_thread(replica.stop)


def _asking(handle: DeploymentHandle) -> Callable[[str, str, bytes], Awaitable[Reply]]:
    """`Ask` over a handle."""
    from acgs.serving.desk import Reply, ReplyKind

    async def ask(model: str, version: str, question: bytes) -> Reply:
        kind, answered, body = await _reached(handle.ask.remote(model, version, question))
        return Reply(ReplyKind(kind), answered, body)

    return ask


async def _reached(response: Any) -> Any:
    """What a slot answers.

    Raises:
        UnavailableError: it was lost on the way, or is at its limit.
    """
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError, RayServeException

    from acgs.errors import UnavailableError

    try:
        return await response
    except BackPressureError as error:
        raise UnavailableError("the slot has as many requests as it takes; try again") from error
    except (RayActorError, RayTaskError, RayServeException) as error:
        raise UnavailableError(f"the slot was lost ({type(error).__name__}); try again") from error


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    blue = ModelSlot.options(name=BLUE).bind("blue")
    green = ModelSlot.options(name=GREEN).bind("green")
    return ModelRouter.bind(blue, green)
