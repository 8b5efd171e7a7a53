"""The retrieval application: `POST /retrieval/search`, governed, reconfigured without a restart."""

# Serve pickles the ingress class by value while it is being decorated: annotations cannot be deferred.

from typing import Any

import orjson
from fastapi import FastAPI, Request
from ray import serve
from starlette.responses import Response

from acgs.observability.logs import configure_logs
from serve_apps.http import caller_of, error_responses, install, read_json, request_body, validated

JSON = "application/json"

app = FastAPI(title="ACGS retrieval", docs_url=None, redoc_url=None)
install(app)


def _body() -> dict[str, Any]:
    from acgs.retrieval.schema import SearchRequest

    return request_body(SearchRequest)


@serve.deployment(name="Retrieval")
@serve.ingress(app)
class Retrieval:
    """One replica: an index mapped into memory, and the configuration in force."""

    def __init__(self) -> None:
        from serve_apps.retrieval_service import open_service

        configure_logs("INFO")
        self._service = open_service()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Serve at the start and whenever `user_config` changes."""
        self._service.reconfigure(user_config)

    @app.post("/search", responses=error_responses(400, 413, 422, 429, 503), openapi_extra=_body())
    async def search(self, request: Request) -> Response:
        """Ranked passages for a query."""
        from acgs.retrieval.schema import SearchRequest

        body = await read_json(request, self._service.max_body_bytes)
        answer = await self._service.search(validated(SearchRequest, body), caller_of(request))
        return Response(orjson.dumps(answer), 200, None, JSON)

    async def passages(self, search: dict[str, Any]) -> dict[str, Any]:
        """The same for another application of the platform, over a handle: it has charged its caller already.

        Raises:
            AcgsError: nothing was searched; the message says why.
        """
        from acgs.retrieval.schema import SearchRequest

        return await self._service.search(validated(SearchRequest, search), None)

    @app.get("/ready", responses=error_responses(503))
    async def ready(self) -> Response:
        """What is in force; 503 while nothing can be searched."""
        state = self._service.state()
        return Response(orjson.dumps(state), 200 if state["status"] == "ready" else 503, None, JSON)

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:
            service.close()


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    return Retrieval.bind()
