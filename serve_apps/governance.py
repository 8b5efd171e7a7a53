"""The governance application: the routes of `/api/v1/enhanced-governance`, the policy engine, health and metrics."""

# Serve pickles the ingress class by value while it is being decorated: annotations cannot be deferred, and whatever
# the class uses must be defined before it.

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Query, Request
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from acgs.errors import AcgsError, InvalidInputError
from acgs.governance.citations import MOST_CITATIONS
from acgs.governance.schema import (
    BatchRequest,
    BatchResponse,
    DomainsResponse,
    GovernanceRequest,
    GovernanceResponse,
    HealthResponse,
    MetricsResponse,
)
from acgs.governance.service import price
from acgs.policy.contract import EvaluateRequest, EvaluateResponse
from serve_apps.citations import Citer, RetrievalApplication
from serve_apps.http import caller_of, error_responses, install, read_json, request_body, validated
from serve_apps.replica import GovernanceReplica, open_replica
from serve_apps.sequencer import AuditSequencer
from serve_apps.tiers import SecondTierDeployment

PREFIX = "/api/v1/enhanced-governance"
JSON = "application/json"
REFUSALS = error_responses(400, 413, 422, 429, 503)

app = FastAPI(title="ACGS governance", docs_url=None, redoc_url=None)
install(app)


@serve.deployment(name="Governance")
@serve.ingress(app)
class Governance:
    """One replica: everything a decision needs lives in this process."""

    def __init__(self, second_tier: DeploymentHandle, sequencer: DeploymentHandle) -> None:
        self._sequencer = sequencer
        self._replica: GovernanceReplica = open_replica(os.environ, second_tier.logits.remote)
        self._citer = Citer(RetrievalApplication(), self._replica.metrics, self._replica.constitution.digest)
        self._log = structlog.get_logger("governance")

    @app.post(f"{PREFIX}/evaluate", response_model=GovernanceResponse, responses=REFUSALS,
              openapi_extra=request_body(GovernanceRequest))  # fmt: skip
    async def evaluate(self, request: Request) -> Response:
        """Judge one text in its context."""

        async def judge() -> bytes:
            body = await read_json(request, self._replica.settings.max_body_bytes)
            return await self._judge_and_cite(validated(GovernanceRequest, body), request)

        return await self._timed(judge)

    @app.post(f"{PREFIX}/evaluate/batch", response_model=BatchResponse, responses=REFUSALS,
              openapi_extra=request_body(BatchRequest))  # fmt: skip
    async def evaluate_batch(self, request: Request) -> Response:
        """Judge several texts; all are answered or none."""

        async def judge() -> bytes:
            limits = self._replica.settings
            batch = validated(BatchRequest, await read_json(request, limits.max_body_bytes))
            if len(batch.requests) > limits.max_batch_size:
                raise InvalidInputError(f"requests: at most {limits.max_batch_size} in a batch", field="requests")
            # The whole batch is paid for before any of it is judged: all are answered or none.
            self._replica.limiter.spend(caller_of(request), sum(map(price, batch.requests)))
            answers = []
            for item in batch.requests:
                answers.append(await self._judge(item, request, paid=True))
                await asyncio.sleep(0)  # let single requests in between
            answers = await self._citer.cited(batch.requests, answers)
            return b'{"responses":[' + b",".join(answers) + b"]}"

        return await self._timed(judge)

    @app.post(PREFIX + "/domains/{domain}/evaluate", response_model=GovernanceResponse, responses=REFUSALS,
              openapi_extra={"requestBody": {"content": {JSON: {"schema": {"type": "object"}}}}})  # fmt: skip
    async def evaluate_in_domain(
        self,
        domain: str,
        request: Request,
        query: str = Query(),
        include_formal_verification: bool = False,
        citations: int = Query(0, ge=0, le=MOST_CITATIONS),
    ) -> Response:
        """Judge a text given in the URL; the body, if any, is the context."""

        async def judge() -> bytes:
            has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
            context = await read_json(request, self._replica.settings.max_body_bytes) if has_body else None
            fields = {
                "query": query,
                "domain": domain,
                "context": context,
                "include_formal_verification": include_formal_verification,
                "constitutional_hash": self._replica.constitution.label,
                "citations": citations,
            }
            return await self._judge_and_cite(validated(GovernanceRequest, fields), request)

        return await self._timed(judge)

    @app.get(f"{PREFIX}/health", response_model=HealthResponse)
    @app.get("/health", response_model=HealthResponse, include_in_schema=False)
    async def health(self) -> Response:
        """Whether this replica meets its targets."""
        return Response(orjson.dumps(self._replica.health()), 200, None, JSON)

    @app.get("/ready", responses=error_responses(503))
    async def ready(self) -> dict[str, str]:
        """Answers once the replica can decide."""
        return {"status": "ready", "constitution_digest": self._replica.constitution.digest}

    @app.get(f"{PREFIX}/metrics", response_model=MetricsResponse)
    async def metrics_json(self) -> Response:
        """Figures of this replica over its recent requests."""
        return Response(orjson.dumps(self._replica.figures()), 200, None, JSON)

    @app.get("/metrics")
    async def metrics_text(self) -> Response:
        """Prometheus text, summed over the replicas of this node."""
        return Response(self._replica.metrics.exposition(), 200, None, "text/plain; version=0.0.4")

    @app.get(f"{PREFIX}/domains", response_model=DomainsResponse)
    async def domains(self) -> Response:
        """The domains of the constitution in force."""
        return Response(orjson.dumps(self._replica.domains()), 200, None, JSON)

    @app.post("/v1/evaluate", response_model=EvaluateResponse, responses=REFUSALS,
              openapi_extra=request_body(EvaluateRequest))  # fmt: skip
    async def evaluate_action(self, request: Request) -> Response:
        """Judge an agent's act by the rules alone."""

        async def judge() -> bytes:
            body = await read_json(request, self._replica.settings.max_body_bytes)
            answer = await self._replica.evaluate_action(validated(EvaluateRequest, body), caller_of(request))
            return answer.model_dump_json().encode()

        return await self._timed(judge)

    @app.get("/api/v1/audit/checkpoint", responses=error_responses(503))
    async def checkpoint(self) -> Response:
        """The latest signed checkpoint of the audit log."""
        note = await self._sequencer.checkpoint.remote()
        return Response(note, 200 if note else 503, None, "text/plain; charset=utf-8")

    async def _judge_and_cite(self, governed: GovernanceRequest, request: Request) -> bytes:
        [answer] = await self._citer.cited([governed], [await self._judge(governed, request)])
        return answer

    async def _judge(self, governed: GovernanceRequest, request: Request, *, paid: bool = False) -> bytes:
        started = time.perf_counter()
        answer = await self._replica.service.evaluate(governed, None if paid else caller_of(request))
        now = time.perf_counter()
        self._replica.metrics.decided(
            answer.domain, answer.final_decision, confidence=answer.confidence, seconds=now - started, now=now,
            hit=answer.cache_hit,
        )  # fmt: skip
        return answer.body

    async def _timed(self, judge: Callable[[], Awaitable[bytes]]) -> Response:
        """Run a handler; count what it refuses by the kind of error."""
        started = time.perf_counter()
        try:
            return Response(await judge(), 200, None, JSON)
        except Exception as error:
            now = time.perf_counter()
            code = error.code if isinstance(error, AcgsError) else "evaluation"
            self._replica.metrics.failed(code, seconds=now - started, now=now)
            self._log.warning("refused", error_type=code)
            raise

    def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            replica.close()


def application(_arguments: dict[str, Any]) -> serve.Application:
    """The application that `cluster/serve.yaml` imports."""
    return Governance.bind(SecondTierDeployment.bind(), AuditSequencer.bind())
