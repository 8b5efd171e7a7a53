"""The routes of the training service. They are relative to the application's prefix, `/api/v1/train`.

Every request is handled in a thread: database and job interface never block the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Query, Request
from starlette.responses import Response

from acgs.learning.sessions.answer import (
    Cancellation,
    TrainingHealth,
    TrainingLogs,
    TrainingPage,
    TrainingResponse,
    TrainingStatus,
)
from acgs.learning.sessions.request import TrainingRequest
from acgs.security.roles import Caller, Permission
from serve_apps.callers import requires
from serve_apps.http import error_responses, install, read_json, request_body
from serve_apps.training_service import TrainingService

TICK_SECONDS: Final = 1.0
MAX_PAGE: Final = 200
MAX_LOG_LINES: Final = 2000
_REFUSALS = error_responses(401, 403, 422, 429, 503)
_REFUSALS_OF_ONE = error_responses(401, 403, 404, 422, 429, 503)


Reader = Annotated[Caller, Depends(requires(Permission.TRAINING_READ))]
Trainer = Annotated[Caller, Depends(requires(Permission.MODEL_TRAINING))]
SessionId = Annotated[UUID, Path(alias="training_id")]


def build_app(open_service: Callable[[], TrainingService]) -> FastAPI:
    """The application. The service is opened when it starts, and moved on until it stops."""
    wake = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = app.state.service = await asyncio.to_thread(open_service)
        app.state.admission = service.admission
        ticking = asyncio.create_task(_keep_ticking(service, wake))
        yield
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await asyncio.to_thread(service.close)

    app = FastAPI(title="ACGS training", docs_url=None, redoc_url=None, lifespan=lifespan)
    install(app)
    _add_session_routes(app, wake)
    _add_service_routes(app)
    return app


def _add_session_routes(app: FastAPI, wake: asyncio.Event) -> None:
    service = _service_of(app)

    @app.post("", response_model=TrainingResponse, responses=error_responses(400, 401, 403, 413, 422, 429, 503),
              openapi_extra=request_body(TrainingRequest))  # fmt: skip
    async def train(request: Request, caller: Trainer) -> TrainingResponse:
        """Start a training session, or put it into the queue."""
        body = await read_json(request, service().settings.max_body_bytes)
        taken = await asyncio.to_thread(service().train, body, caller)
        wake.set()
        return taken

    @app.get("", response_model=TrainingPage, responses=_REFUSALS)
    async def sessions(
        caller: Reader,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    ) -> TrainingPage:
        """The caller's sessions, latest first."""
        return await asyncio.to_thread(service().page, caller, before=before, limit=limit)

    @app.get("/{training_id}/status", response_model=TrainingStatus, responses=_REFUSALS_OF_ONE)
    async def status(caller: Reader, training_id: SessionId) -> TrainingStatus:
        """How a session fares."""
        return await asyncio.to_thread(service().status, str(training_id), caller)

    @app.get("/{training_id}/logs", response_model=TrainingLogs, responses=_REFUSALS_OF_ONE)
    async def logs(
        caller: Reader, training_id: SessionId, lines: Annotated[int, Query(ge=1, le=MAX_LOG_LINES)] = 200
    ) -> TrainingLogs:
        """The last lines that a session's job wrote."""
        return await asyncio.to_thread(service().logs, str(training_id), caller, lines)

    @app.delete("/{training_id}", response_model=Cancellation, responses=_REFUSALS_OF_ONE | error_responses(409))
    async def cancel(caller: Trainer, training_id: SessionId) -> Cancellation:
        """Cancel a session; its job ends within seconds and its last checkpoint is kept."""
        cancelled = await asyncio.to_thread(service().cancel, str(training_id), caller)
        wake.set()
        return cancelled


def _add_service_routes(app: FastAPI) -> None:
    service = _service_of(app)

    @app.get("/health", response_model=TrainingHealth, responses=error_responses(503))
    async def health() -> TrainingHealth:
        """How the service fares."""
        return await asyncio.to_thread(service().health)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(service().metrics.exposition(), 200, None, "text/plain; version=0.0.4")


def _service_of(app: FastAPI) -> Callable[[], TrainingService]:
    def service() -> TrainingService:
        opened: TrainingService = app.state.service
        return opened

    return service


async def _keep_ticking(service: TrainingService, wake: asyncio.Event) -> None:
    while True:
        await asyncio.to_thread(service.tick)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), TICK_SECONDS)
        wake.clear()
