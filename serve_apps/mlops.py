"""The mlops application: versions, releases that move on by themselves, webhooks, under `/api/v1/mlops`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve

MODELS = "models"
"""The application, as `cluster/serve.yaml` names it."""


def build() -> FastAPI:
    """Make the replica's application; called in the replica, so that all heavy imports happen there."""
    from acgs.observability.logs import configure_logs
    from acgs.settings import Settings
    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import MLOpsService, open_service

    def opened() -> MLOpsService:
        settings = Settings()
        configure_logs(settings.log_level)
        return open_service(settings)

    return build_app(opened, _hold_models)


async def _hold_models() -> None:
    """A request to the models application that only lasts, so that Serve does not take it for idle.

    Raises:
        UnavailableError: the application is not deployed, or does not answer.
    """
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from acgs.errors import UnavailableError

    try:
        await serve.get_app_handle(MODELS).hold.remote()
    except (RayError, RayServeException) as error:
        raise UnavailableError(f"the models application does not answer ({type(error).__name__})") from error


@serve.deployment(name="MLOps")
@serve.ingress(build)
class MLOps:
    """One replica is enough; a second does no harm. State is in the database."""


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    return MLOps.bind()
