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


def declaration(
    runtime_env: dict[str, Any], *, module: str = "noop", deployment: str = "Noop", cpus: float = 0.5
) -> dict[str, Any]:
    """A baseline's entry in a Serve configuration, beside the application that it is compared with."""
    return {
        "name": module,
        "route_prefix": f"/{module}",
        "import_path": f"benchmarks.{module}:application",
        "runtime_env": runtime_env,
        "deployments": [
            {
                "name": deployment,
                "num_replicas": 1,
                "max_ongoing_requests": 64,
                "ray_actor_options": {"num_cpus": cpus},
            }
        ],
    }


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that the benchmark deploys."""
    return Noop.bind()
