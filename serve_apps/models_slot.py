"""What runs in a replica of a slot: follows the table, keeps its versions, reports, answers."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import structlog

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.channel import ChannelServer
from acgs.serving.desk import Desk
from acgs.serving.fetching import Fetch, FolderStore
from acgs.serving.keeper import Keeper, loader
from acgs.serving.replicas import ReplicaState
from acgs.serving.reporting import Reporter
from acgs.serving.routing import RoutingTable, Slot
from acgs.serving.sql_store import SqlServingStore
from acgs.serving.store import ServingStore
from acgs.serving.watching import TableWatch
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.migrate import upgrade
from serve_apps.models_settings import ModelSettings


class ReplicaIdentity(NamedTuple):
    """What Serve calls a replica, and the deployment that it is of."""

    replica_id: str
    deployment: str


class SlotReplica:
    """A slot's replica without its cluster."""

    def __init__(
        self, slot: Slot, identity: ReplicaIdentity, store: ServingStore, fetch: Fetch, *, models: ModelSettings
    ) -> None:
        self._slot = slot
        self._identity = identity
        self._started_at = time.time()
        self._load_timeout = models.load_timeout_seconds
        self._reporter = Reporter(store, self._state)
        self._keeper = Keeper(slot, loader(fetch), self._reporter.changed)
        self._watch = TableWatch(store, self._keeper.follow, poll_seconds=models.poll_seconds)
        self.desk = Desk(self._keeper)
        self._server = ChannelServer(self.desk)
        self._channel: str | None = None

    def open(self) -> None:
        """Load all that the table names. What fails is reported, and does not keep the other models from serving.

        Raises:
            UnavailableError: the store cannot be read, or the versions are not loaded within their time.
        """
        self._watch.start()
        self._reporter.start()
        if not self._keeper.settle(self._load_timeout):
            raise UnavailableError(f"the versions of the slot are not loaded after {self._load_timeout:g} s")

    async def listen(self) -> None:
        """Answer routers of this machine on a socket file; call in the event loop that answers."""
        self._channel = await self._server.open()
        self._reporter.changed()

    async def leave(self) -> None:
        """Take no more from the socket file, and answer what came."""
        await self._server.close()

    def offer(self, table: RoutingTable) -> None:
        """Take a table that came by `user_config`."""
        self._watch.offer(table)

    def check(self) -> None:
        """Raise where this replica can no longer follow the table. A store that is down is no reason to end it."""
        if not (self._watch.alive() and self._reporter.alive() and self._keeper.alive()):
            raise UnavailableError("a thread of the replica has ended")

    def close(self) -> None:
        """Stop following, sign off, let the models go."""
        self._watch.stop()
        self._reporter.stop()
        self._keeper.close()

    def _state(self) -> ReplicaState:
        # The epoch first: the holdings read after it are at least as new.
        epoch = self._watch.table.epoch
        return ReplicaState(
            *self._identity, self._slot, epoch, self._started_at, time.time(), self._keeper.holdings(), self._channel
        )


def open_slot(slot: Slot, identity: ReplicaIdentity) -> SlotReplica:
    """A replica from the environment's settings, with everything loaded."""
    settings, models = Settings(), ModelSettings()
    fetch = open_fetch(settings, models)
    replica = SlotReplica(slot, identity, open_serving_store(settings), fetch, models=models)
    try:
        replica.open()
    except BaseException:
        replica.close()
        raise
    return replica


def open_serving_store(settings: Settings) -> SqlServingStore:
    """The store in the platform's database."""
    engine = open_engine(configured_url(settings))
    upgrade(engine)
    return SqlServingStore(engine)


def open_fetch(settings: Settings, models: ModelSettings) -> Fetch:
    """Versions from the folder that is set, else from the registry."""
    if models.model_folder is not None:
        return FolderStore(models.model_folder)
    from acgs.registry.opening import open_registry

    registry = open_registry(settings)
    return lambda model, version: registry.fetch(f"{model}@{version}")


def table_of(user_config: dict[str, Any]) -> RoutingTable | None:
    """The table in a `user_config`, if it has one that can be used; one that cannot is logged and changes nothing."""
    found = user_config.get("table")
    if found is None:
        return None
    try:
        return RoutingTable.model_validate(found)
    except ValueError as error:
        refused = InvalidInputError("user_config.table is no routing table", field="user_config.table")
        structlog.get_logger("models").error("table refused", reason=refused.message, error_type=type(error).__name__)
        return None
