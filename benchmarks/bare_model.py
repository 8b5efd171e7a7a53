"""A baseline of the router's: a FastAPI deployment that asks a model in its own process, and nothing else.

Against the no-op it shows what the model costs; against a prediction, what router, slots, versions and limits add.
"""

# No deferred annotations here: FastAPI must see the types of handlers that Serve has wrapped.

from typing import Any

import numpy as np
import orjson
from fastapi import FastAPI, Request
from ray import serve
from sklearn.dummy import DummyRegressor
from starlette.responses import Response

app = FastAPI()


def constant_model(value: float) -> DummyRegressor:
    """The cheapest model of scikit-learn's; it takes rows of two numbers."""
    return DummyRegressor(strategy="constant", constant=value).fit(np.zeros((2, 2)), np.zeros(2))


@serve.deployment(name="BareModel")
@serve.ingress(app)
class BareModel:
    """Reads instances, answers predictions."""

    def __init__(self) -> None:
        self._model = constant_model(1.0)

    @app.post("/")
    async def predict(self, request: Request) -> Response:
        """Ask the model in the loop."""
        instances = orjson.loads(await request.body())["instances"]
        found = self._model.predict(np.asarray(instances)).tolist()
        return Response(orjson.dumps({"predictions": found}), 200, None, "application/json")


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that the benchmark deploys."""
    return BareModel.bind()
