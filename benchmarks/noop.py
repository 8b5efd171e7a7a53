"""The baseline of the HTTP benchmark: a FastAPI deployment that reads the body and answers nothing."""

# No deferred annotations here: FastAPI must see the types of handlers that Serve has wrapped.

from typing import Any

from fastapi import FastAPI, Request
from ray import serve
from starlette.responses import Response

app = FastAPI()


@serve.deployment(name="Noop")
@serve.ingress(app)
class Noop:
    """Answers every POST with an empty object."""

    @app.post("/")
    async def answer(self, request: Request) -> Response:
        """Read the body, answer."""
        await request.body()
        return Response(b"{}", 200, None, "application/json")


def declaration(runtime_env: dict[str, Any]) -> dict[str, Any]:
    """Its entry in a Serve configuration, beside the application that it is compared with."""
    return {
        "name": "noop",
        "route_prefix": "/noop",
        "import_path": "benchmarks.noop:application",
        "runtime_env": runtime_env,
        "deployments": [
            {"name": "Noop", "num_replicas": 1, "max_ongoing_requests": 64, "ray_actor_options": {"num_cpus": 0.5}}
        ],
    }


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that the benchmark deploys."""
    return Noop.bind()
