"""The routes of versions and releases. They are relative to the application's prefix, `/api/v1/mlops`.

Every request is handled in a thread: the database never blocks the event loop. The loops that move releases on have
threads of their own, so that no number of requests stops them, and models are loaded in a process of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, FastAPI, Query, Request
from starlette.responses import Response

from acgs.errors import AcgsError
from acgs.registry.semver import VersionPolicy
from acgs.release.policy import ReleasePolicy
from acgs.security.roles import Caller, Permission
from serve_apps.callers import requires
from serve_apps.http import error_responses, install, read_json, request_body, validated
from serve_apps.mlops_schema import (
    ContractRequest,
    PromotionRequest,
    ReasonRequest,
    StagingRequest,
    WebhookRequest,
)
from serve_apps.mlops_service import MLOpsService
from serve_apps.mlops_uploads import MAX_DESCRIPTION_CHARS, OPENAPI, described

TICK_SECONDS: Final = 0.5
DELIVERY_SECONDS: Final = 5.0
MAX_ROWS_BYTES: Final = 32 * 1024 * 1024
MAX_PAGE: Final = 1000
_LOOPS: Final = 3
_READS = error_responses(401, 403, 404, 422, 429, 503)
_CHANGES = error_responses(400, 401, 403, 404, 409, 413, 422, 429, 503)
_UPLOADS = error_responses(400, 401, 403, 404, 408, 409, 413, 422, 429, 503)

Reader = Annotated[Caller, Depends(requires(Permission.MODEL_READ))]
Creator = Annotated[Caller, Depends(requires(Permission.MODEL_CREATE))]
Releaser = Annotated[Caller, Depends(requires(Permission.MODEL_RELEASE))]
Approver = Annotated[Caller, Depends(requires(Permission.MODEL_APPROVE))]
Ruler = Annotated[Caller, Depends(requires(Permission.RELEASE_RULE))]
WebhookManager = Annotated[Caller, Depends(requires(Permission.WEBHOOK_MANAGE))]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def build_app(open_service: Callable[[], MLOpsService], hold_models: Callable[[], Awaitable[None]]) -> FastAPI:
    """The application. The service is opened when it starts, and its loops run until it stops.

    Args:
        hold_models: keeps the models application awake for a while.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = app.state.service = await asyncio.to_thread(open_service)
        app.state.admission = service.admission
        own = ThreadPoolExecutor(_LOOPS, thread_name_prefix="mlops-loop")
        loops = [
            asyncio.create_task(_repeat(own, service.tick, TICK_SECONDS)),
            asyncio.create_task(_repeat(own, service.deliver, DELIVERY_SECONDS)),
            asyncio.create_task(_keep_models_awake(own, service, hold_models)),
        ]
        yield
        service.close()
        for loop in loops:
            loop.cancel()
        for loop in loops:
            with suppress(asyncio.CancelledError):
                await loop
        await asyncio.to_thread(own.shutdown)

    app = FastAPI(title="ACGS mlops", docs_url=None, redoc_url=None, lifespan=lifespan)
    install(app)
    _add_version_routes(app)
    _add_release_routes(app)
    _add_webhook_routes(app)
    _add_service_routes(app)
    return app


def _add_version_routes(app: FastAPI) -> None:
    service = _service_of(app)

    @app.get("/versions", responses=_READS)
    async def versions(caller: Reader, name: str | None = None, limit: Limit = 100) -> Response:
        """Versions, highest first within a model."""
        lines = await asyncio.to_thread(service().manager.registry.find, name, limit=limit)
        return _json([line._asdict() for line in lines])

    @app.post("/versions/{name}", status_code=201, responses=_UPLOADS, openapi_extra=OPENAPI)
    async def create(
        caller: Creator,
        request: Request,
        name: str,
        *,
        version: str | None = None,
        policy: VersionPolicy = VersionPolicy.MINOR,
        describe: Annotated[str | None, Query(max_length=MAX_DESCRIPTION_CHARS)] = None,
    ) -> Response:
        """Name, store and sign the model folder that comes as a plain tar; `describe` is JSON with parent, data, ...

        It is taken by the same rules as a folder at the terminal: plain files of formats that run no code.
        """
        description = described(describe)
        act = service().manager.acting_as(caller).create_model_version
        async with service().uploads.folder(request) as folder:
            made = await asyncio.to_thread(act, name, folder, version=version, version_policy=policy, **description)
        return _json(made, 201)

    @app.get("/versions/{name}/{version}", responses=_READS)
    async def version(caller: Reader, name: str, version: str) -> Response:
        """All that is known of a version; 'latest' is its highest release."""
        record = await asyncio.to_thread(service().manager.registry.catalogue.get, name, version)
        published = await asyncio.to_thread(service().manager.published, record)
        return _json(published | {"facts": record.facts.model_dump(mode="json"), "signatures": record.signatures})

    @app.get("/versions/{name}/{version}/lineage", responses=_READS)
    async def lineage(caller: Reader, name: str, version: str) -> Response:
        """Where a version comes from, and what was made of it."""
        graph = await asyncio.to_thread(service().manager.registry.lineage, f"{name}@{version}")
        return _json(graph.as_json())

    @app.put("/versions/{name}/{version}/hold", responses=_CHANGES, openapi_extra=request_body(ReasonRequest))
    async def hold(caller: Releaser, request: Request, name: str, version: str) -> Response:
        """Put a version under legal hold."""
        body = await _body(request, ReasonRequest)
        act = service().manager.acting_as(caller).hold
        await asyncio.to_thread(act, name, version, reason=body.reason)
        return _json({"held": f"{name}@{version}"})

    @app.delete("/versions/{name}/{version}/hold", responses=_CHANGES)
    async def lift_hold(caller: Releaser, name: str, version: str) -> Response:
        """Lift the hold."""
        await asyncio.to_thread(service().manager.acting_as(caller).lift_hold, name, version)
        return _json({"no_longer_held": f"{name}@{version}"})


def _add_release_routes(app: FastAPI) -> None:
    service = _service_of(app)

    @app.post("/releases/{name}/{version}/stage", responses=_CHANGES, openapi_extra=request_body(StagingRequest))
    async def stage(caller: Releaser, request: Request, name: str, version: str) -> Response:
        """Load a version, ask it for held-out rows, judge its answers; the signed document, whatever it says."""
        body = await _body(request, StagingRequest, MAX_ROWS_BYTES)
        act = service().manager.acting_as(caller).stage_model
        signed = await asyncio.to_thread(act, name, version, data=body.rows, limits=body.limits)
        return _json({"digest": signed.document.digest(), **signed.model_dump(mode="json")})

    @app.post("/releases/{name}/{version}/contract", responses=_CHANGES, openapi_extra=request_body(ContractRequest))
    async def contract(caller: Releaser, request: Request, name: str, version: str) -> Response:
        """Hold a version against the one that is live; the signed document, whatever it says."""
        body = await _body(request, ContractRequest, MAX_ROWS_BYTES)
        act = service().manager.acting_as(caller).check_contract
        asked = body.model_dump(include={"waived", "seed", "timed_seconds"})
        signed = await asyncio.to_thread(act, name, version, data=body.rows, margins=body.margins, **asked)
        return _json({"digest": signed.document.digest(), **signed.model_dump(mode="json")})

    @app.post(
        "/releases/{name}/{version}/promote",
        status_code=202,
        responses=_CHANGES,
        openapi_extra=request_body(PromotionRequest),
    )
    async def promote(caller: Releaser, request: Request, name: str, version: str) -> Response:
        """Begin a promotion; the platform moves it on. Follow it at `/releases/{name}`."""
        body = await _body(request, PromotionRequest)
        act = service().manager.acting_as(caller).deploy_model
        asked = body.model_dump(include={"end_watch", "reason"})
        started = await asyncio.to_thread(act, name, version, plan=body.plan, wait=False, **asked)
        return _json(started.model_dump(mode="json"), 202)

    @app.post("/releases/{name}/rollback", responses=_CHANGES, openapi_extra=request_body(ReasonRequest))
    async def rollback(caller: Releaser, request: Request, name: str) -> Response:
        """Bring the version before back."""
        body = await _body(request, ReasonRequest)
        act = service().manager.acting_as(caller).rollback_model
        going = await asyncio.to_thread(act, name, reason=body.reason, wait=False)
        return _json(going.model_dump(mode="json"))

    @app.get("/policy", responses=_READS)
    async def policy(caller: Reader) -> Response:
        """The release policy in force: the loosest that may be asked for, in the form of its file."""
        found = await asyncio.to_thread(service().manager.release_policy)
        return _json(found.policy.model_dump(mode="json"))

    @app.put("/policy", responses=_CHANGES, openapi_extra=request_body(ReleasePolicy))
    async def adopt_policy(caller: Ruler, request: Request) -> Response:
        """Put a release policy in force, whatever file the service names; the body has the form of that file."""
        body = await _body(request, ReleasePolicy)
        found = await asyncio.to_thread(service().manager.acting_as(caller).adopt_release_policy, body)
        return _json(found.policy.model_dump(mode="json"))

    @app.get("/releases/{name}", responses=_READS)
    async def status(caller: Reader, name: str) -> Response:
        """Slots, live version, deployment under way, replicas and traffic."""
        return _json(await asyncio.to_thread(service().manager.get_model_status, name))

    @app.get("/releases/{name}/history", responses=_READS)
    async def history(caller: Reader, name: str) -> Response:
        """What was live when, on whose approval, with which evidence; verifies offline."""
        found = await asyncio.to_thread(service().manager.history, name)
        return _json(found.model_dump(mode="json"))

    @app.get("/documents/{digest}", responses=_READS)
    async def document(caller: Reader, digest: str) -> Response:
        """A signed staging or contract document."""
        signed = await asyncio.to_thread(service().manager.deployments.document, digest)
        return _json(signed.model_dump(mode="json"))

    @app.post("/documents/{digest}/approve", responses=_CHANGES, openapi_extra=request_body(ReasonRequest))
    async def approve(caller: Approver, request: Request, digest: str) -> Response:
        """Consent to a promotion in spite of a document that does not say PASS."""
        body = await _body(request, ReasonRequest)
        await asyncio.to_thread(service().manager.acting_as(caller).approve, digest, reason=body.reason)
        return _json({"approved": digest, "by": caller.subject})


def _add_webhook_routes(app: FastAPI) -> None:
    service = _service_of(app)

    @app.get("/webhooks", responses=_READS)
    async def webhooks(caller: WebhookManager) -> Response:
        """Who is told of what; paths and queries of addresses are not shown."""
        hooks = await asyncio.to_thread(service().webhooks.subscriptions)
        return _json(
            [{"webhook_id": h.webhook_id, "place": h.place, "topics": h.topics, "since": h.created_at} for h in hooks]
        )

    @app.post("/webhooks", status_code=201, responses=_CHANGES, openapi_extra=request_body(WebhookRequest))
    async def subscribe(caller: WebhookManager, request: Request) -> Response:
        """Tell an address of what happens from now on."""
        body = await _body(request, WebhookRequest)
        made = await asyncio.to_thread(service().webhooks.add, body.url, body.topics, actor=caller.subject)
        return _json({"webhook_id": made.webhook_id, "place": made.place, "topics": made.topics}, 201)

    @app.delete("/webhooks/{webhook_id}", responses=_CHANGES)
    async def unsubscribe(caller: WebhookManager, webhook_id: str) -> Response:
        """Tell an address nothing more."""
        await asyncio.to_thread(service().webhooks.remove, webhook_id, actor=caller.subject)
        return _json({"removed": webhook_id})

    @app.get("/webhooks/deliveries", responses=_READS)
    async def deliveries(caller: WebhookManager, webhook_id: str | None = None, limit: Limit = 100) -> Response:
        """What was sent, how often it was tried, and what came back."""
        found = await asyncio.to_thread(service().webhooks.deliveries, webhook_id, limit=limit)
        return _json([asdict(delivery) for delivery in found])


def _add_service_routes(app: FastAPI) -> None:
    service = _service_of(app)

    @app.get("/dashboard", responses=_READS)
    async def dashboard(caller: Reader) -> Response:
        """All models at a glance."""
        return _json(await asyncio.to_thread(service().manager.get_mlops_dashboard))

    @app.get("/health", responses=error_responses(503))
    async def health() -> Response:
        """Whether releases move on, and events come into the audit log and to webhooks."""
        found = service().health()
        return _json(found, 200 if found["status"] == "ok" else 503)


async def _body(request: Request, model: type[Any], limit: int | None = None) -> Any:
    settings = request.app.state.service.manager.settings
    data = await read_json(request, limit or settings.max_body_bytes)
    return validated(model, data) if limit is None else await asyncio.to_thread(validated, model, data)


def _service_of(app: FastAPI) -> Callable[[], MLOpsService]:
    def service() -> MLOpsService:
        opened: MLOpsService = app.state.service
        return opened

    return service


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, None, "application/json")


async def _keep_models_awake(own: Executor, service: MLOpsService, hold_models: Callable[[], Awaitable[None]]) -> None:
    """A release must find slots that load, though nobody has asked yet."""
    while True:
        with suppress(AcgsError):
            if await asyncio.get_running_loop().run_in_executor(own, service.models_are_wanted):
                await hold_models()
        await asyncio.sleep(TICK_SECONDS)


async def _repeat(own: Executor, act: Callable[[], None], seconds: float) -> None:
    while True:
        await asyncio.get_running_loop().run_in_executor(own, act)
        await asyncio.sleep(seconds)
