"""The policy-engine contract: `POST /v1/evaluate` for agents and other services."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.policy.cache import DecisionCache
from acgs.policy.engine import RuleInput
from acgs.policy.judge import RuleJudge


class EvaluateRequest(BaseModel):
    """An act that an agent asks leave for."""

    model_config = ConfigDict(extra="forbid")

    action: str = Field(min_length=1, max_length=64)
    agent_id: str = Field(min_length=1, max_length=256)
    input_data: dict[str, Any] = {}
    context: dict[str, Any] = {}


class EvaluateResponse(BaseModel):
    """The rules' answer. `confidence_score` stays null: rules are not probabilistic."""

    model_config = ConfigDict(extra="forbid")

    allow: bool
    violations: list[str]
    reason: str | None
    confidence_score: float | None
    evaluation_time_ms: int
    cache_hit: bool
    policy_version: str
    reasons: list[dict[str, Any]] = []
    engine: str
    fallback: str | None = None


class PolicyService:
    """Evaluates acts by the constitution's rules, with a cache."""

    def __init__(self, constitution: LockedConstitution, judge: RuleJudge, cache: DecisionCache) -> None:
        self._constitution = constitution
        self._judge = judge
        self._cache = cache

    async def evaluate(self, request: EvaluateRequest) -> EvaluateResponse:
        """Judge one act.

        Raises:
            InvalidInputError: the action is not one of the constitution's, a field has the wrong type, or a number
                is not finite.
            UnavailableError: the rules could not be evaluated.
        """
        started = time.perf_counter()
        actions = self._constitution.document.actions
        if request.action not in actions:
            raise InvalidInputError(f"unknown action; must be one of {sorted(actions)}", field="action")
        key = self._key(request)
        cached = await self._recall(key)
        if cached is not None:
            elapsed = round((time.perf_counter() - started) * 1000)
            return cached.model_copy(update={"cache_hit": True, "evaluation_time_ms": elapsed})
        ruling = self._judge.rule(
            RuleInput(("common", request.action), context=request.context, input_data=request.input_data)
        )
        response = EvaluateResponse(
            allow=ruling.allowed,
            violations=[violation.rule for violation in ruling.violations],
            reason="; ".join(violation.message for violation in ruling.violations) or None,
            confidence_score=None,
            evaluation_time_ms=round((time.perf_counter() - started) * 1000),
            cache_hit=False,
            policy_version=self._constitution.digest,
            reasons=[violation.as_dict() for violation in ruling.violations],
            engine=ruling.engine,
            fallback=ruling.fallback,
        )
        if ruling.fallback is None:
            await self._cache.set(key, response.model_dump_json().encode())
        return response

    async def _recall(self, key: str) -> EvaluateResponse | None:
        """The cached answer; what is not one, from another version or by another hand, is a miss."""
        stored = await self._cache.get(key)
        try:
            return None if stored is None else EvaluateResponse.model_validate_json(stored)
        except ValidationError:
            return None

    def _key(self, request: EvaluateRequest) -> str:
        parts = [self._constitution.digest, request.action, request.input_data, request.context]
        try:
            # Not orjson: it writes NaN as null, and a request with the one would be answered with the other's leave.
            body = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except ValueError as error:
            raise InvalidInputError("numbers must be finite, as JSON has it", field="input_data") from error
        return hashlib.sha256(body).hexdigest()
