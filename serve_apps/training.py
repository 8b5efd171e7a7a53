"""The training application: constitutional training as a service, under `/api/v1/train`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve


def _cluster_environment() -> dict[str, Any]:
    """What a job needs to find the same code and state as this replica. Dashboards show it, so no secret is in it."""
    import os

    from ray import get_runtime_context

    own = get_runtime_context().runtime_env
    passed = {name: own[name] for name in ("working_dir", "py_modules", "pip", "uv") if own.get(name)}
    variables = {name: os.environ[name] for name in ("ACGS_STATE_DIR", "ACGS_CONSTITUTION") if name in os.environ}
    return passed | {"env_vars": variables | {"TOKENIZERS_PARALLELISM": "false"}}


def build() -> FastAPI:
    """Make the replica's application; called in the replica, so that all heavy imports happen there."""
    from acgs.learning.sessions.workspace import SessionFiles
    from acgs.observability.logs import configure_logs
    from acgs.settings import Settings
    from serve_apps.training_jobs import RayJobRunner
    from serve_apps.training_routes import build_app
    from serve_apps.training_service import TrainingService, open_service, training_root
    from serve_apps.training_settings import TrainingSettings

    def opened() -> TrainingService:
        settings, training = Settings(), TrainingSettings()
        configure_logs(settings.log_level)
        root = training_root(settings, training)
        runner = RayJobRunner(lambda session: SessionFiles(root, session), runtime_env=_cluster_environment())
        return open_service(settings, training, runner)

    return build_app(opened)


@serve.deployment(name="Training")
@serve.ingress(build)
class Training:
    """One replica: it schedules, so there is no second. State is in the database and in the cluster."""


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    return Training.bind()
