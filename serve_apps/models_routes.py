"""The routes of the models application. They are relative to its prefix, `/models`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Request
from fastapi.params import Depends
from starlette.responses import Response

from acgs.errors import AcgsError
from serve_apps.http import caller_of, error_response, error_responses, install, read_json, request_body, validated
from serve_apps.models_router import PredictRequest, RouterReplica

JSON = "application/json"
SESSION_HEADER = "x-session-id"
EPOCH_HEADER = "x-acgs-epoch"
MAX_SESSION_CHARS = 128

Describe = Callable[[str, str, str], Awaitable[dict[str, Any]]]
"""Slot, model, version: kind and schemas, from the slot that holds it."""
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]


def build_app(replica: RouterReplica, describe: Describe, guards: Sequence[Depends] = ()) -> FastAPI:
    """The application. `guards` are dependencies that stand before every route: tokens and roles."""
    app = FastAPI(title="ACGS models", docs_url=None, redoc_url=None, dependencies=list(guards))
    install(app)
    # In the order of how often they are asked for: routes are tried one after the other.
    _add_prediction(app, replica)
    _add_service_routes(app, replica)
    _add_model(app, replica, describe)
    return app


def _add_prediction(app: FastAPI, replica: RouterReplica) -> None:
    @app.post("/{name}/predict", responses=error_responses(400, 404, 413, 422, 429, 500, 503),
              openapi_extra=request_body(PredictRequest))  # fmt: skip
    async def predict(name: Name, request: Request) -> Response:
        """Ask the version that the routing table names for this caller."""
        caller = caller_of(request)
        try:
            body = await read_json(request, replica.max_body_bytes)
            replica.admit(caller)
            session = request.headers.get(SESSION_HEADER, "")[:MAX_SESSION_CHARS]
            answer = await replica.predict(name, session or caller, validated(PredictRequest, body))
            response = Response(answer, 200, None, JSON)
        except AcgsError as error:
            replica.metrics.refused(name, error.code)
            response = error_response(error)
        response.headers[EPOCH_HEADER] = str(replica.table.epoch)
        return response


def _add_service_routes(app: FastAPI, replica: RouterReplica) -> None:
    @app.get("", responses=error_responses(503))
    @app.get("/", include_in_schema=False)
    async def models() -> Response:
        """All models with their slots, versions and states."""
        return _json(await asyncio.to_thread(replica.listing))

    @app.get("/health", responses=error_responses(503))
    async def health() -> Response:
        """Whether this router follows the routing table; 503 where it does not."""
        found = replica.health()
        return _json(found, 200 if found["status"] == "healthy" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text of this replica."""
        return Response(replica.metrics.exposition(), 200, None, "text/plain; version=0.0.4")


def _add_model(app: FastAPI, replica: RouterReplica, describe: Describe) -> None:
    @app.get("/{name}", responses=error_responses(404, 422, 503))
    async def model(name: Name) -> Response:
        """One model: kind and schemas of the versions in its slots."""
        found = await asyncio.to_thread(replica.model, name)
        for slot in [slot for slot, held in found["slots"].items() if held is not None]:
            found["slots"][slot] |= await describe(slot, name, found["slots"][slot]["version"])
        return _json(found)


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, None, JSON)
