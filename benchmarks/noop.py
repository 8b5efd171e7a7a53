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


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that the benchmark deploys."""
    return Noop.bind()
