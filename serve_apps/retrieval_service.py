"""What one retrieval replica holds: an index, the configuration in force, the way into the audit log.

A new configuration is opened beside the one in force and takes its place in one assignment, so that a search sees one
or the other. One that cannot be opened is refused, and the old one stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.journal import Journal
from acgs.audit.receipts import DecisionFacts
from acgs.audit.recorder import AuditRecorder
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, InvalidInputError, UnavailableError, first_fault
from acgs.retrieval.schema import SearchAnswer, SearchRequest
from acgs.security.rate_limit import TokenBuckets
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.retrieval.search import Searcher

DOMAIN = "retrieval"
NO_INDEX = "no index is configured; set 'index' in the retrieval application's user_config"
_NONCE_BYTES = 16


class RetrievalUserConfig(BaseModel):
    """`user_config` of the deployment; every change of it is a new epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: Path | None = Field(None, description="folder of 'acgs retrieval index'; unset: nothing is searched")
    encoder: str = Field("minilm", description="'minilm', or a folder with the encoder that made the index")
    configuration: Path | None = Field(None, description="t1_configuration.json; unset: the shipped one")
    router: Path | None = Field(None, description="router_distilled_int8.json, where the configuration has a gate")
    epoch: int = Field(0, ge=0, description="returned with every answer: a swap is done when all replicas report it")


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers now."""

    searcher: Searcher
    epoch: int


class RetrievalService:
    """Searches under the constitution in force; the configuration may change at any time."""

    def __init__(self, settings: Settings, recorder: AuditRecorder, constitution: LockedConstitution) -> None:
        self._settings = settings
        self._recorder = recorder
        self._constitution = constitution
        self._limiter = TokenBuckets(
            rate=settings.rate_limit_requests_per_second, burst=settings.rate_limit_burst_capacity
        )
        self._serving: Serving | None = None
        self._reason = NO_INDEX
        self._offered: int | None = None
        self._log = structlog.get_logger("retrieval")

    @property
    def max_body_bytes(self) -> int:
        """Longest body that is read."""
        return self._settings.max_body_bytes

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Open what the configuration names and put it in force; a configuration that cannot be opened is refused."""
        epoch = user_config.get("epoch", 0)
        self._offered = epoch if isinstance(epoch, int) else None
        try:
            wanted = _parsed(user_config)
            if wanted.index is None:
                self._serving, self._reason = None, NO_INDEX
                return
            self._serving = Serving(_open(wanted), wanted.epoch)
            self._reason = ""
        except AcgsError as error:
            self._reason = error.message
            self._log.error("configuration refused", error_type=error.code, reason=error.message)
        except ValueError as error:  # a path that no file system takes
            self._reason = "a path of the configuration cannot be used"
            self._log.error("configuration refused", error_type=type(error).__name__)

    async def search(self, request: SearchRequest, caller: str | None) -> dict[str, Any]:
        """Search, and put the search on record where the caller wants a receipt.

        Args:
            caller: whose rate it spends; None if another application had it paid for.

        Raises:
            AcgsError: nothing was searched; the message says why.
        """
        self._constitution.require(request.constitutional_hash)
        if caller is not None:
            self._limiter.spend(caller, 1)
        serving = self._serving
        if serving is None:
            raise UnavailableError(self._reason)
        answer = await self._answer(serving.searcher, request)
        fields = answer.model_dump(mode="json")
        fields |= {"epoch": serving.epoch, "constitutional_hash": self._constitution.label}
        if request.receipt:
            fields |= await self._record(request, answer)
        return fields

    def state(self) -> dict[str, Any]:
        """What is in force, and why a newer configuration is not."""
        serving = self._serving
        return {
            "status": "ready" if serving is not None else "unavailable",
            "epoch": None if serving is None else serving.epoch,
            "offered_epoch": self._offered,
            "configuration": None if serving is None else serving.searcher.version,
            "index": None if serving is None else serving.searcher.index.manifest.digest,
            "constitution_digest": self._constitution.digest,
            "refused": self._reason or None,
        }

    def close(self) -> None:
        """Flush the journal."""
        self._recorder.close()

    async def _answer(self, searcher: Searcher, request: SearchRequest) -> SearchAnswer:
        from acgs.retrieval.answers import search_answer

        def run() -> SearchAnswer:
            return search_answer(
                searcher, searcher.search(request.query, topk=request.topk, budget_ms=request.budget_ms)
            )

        # A search by words alone is shorter than the way to another thread; one that encodes would hold up the others.
        return run() if request.budget_ms == 0 else await asyncio.to_thread(run)

    async def _record(self, request: SearchRequest, answer: SearchAnswer) -> dict[str, Any]:
        """The receipt commits to query and results by SHA-256 over a nonce that goes to the caller alone."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        found = [hit.id for hit in answer.results]
        canonical = orjson.dumps([request.query, request.topk, request.budget_ms, found])
        receipt = await self._recorder.record(
            DecisionFacts(
                request_digest=hashlib.sha256(nonce + canonical).hexdigest(),
                constitution_digest=self._constitution.digest,
                constitutional_hash=self._constitution.label,
                bundle_version=answer.configuration,
                model_version=answer.index,
                domain=DOMAIN,
                verdict=answer.route,
            )
        )
        return {"receipt": dict(receipt.fields), "receipt_nonce": nonce.hex(), "audit_leaf": receipt.leaf_hash}


def open_service() -> RetrievalService:
    """A replica's service from the environment's settings, without an index yet."""
    settings = Settings()
    identity = f"retrieval-{os.getpid()}-{secrets.token_hex(4)}"
    journal = Journal(audit_directory(settings).journals, identity, durability=settings.audit_durability)
    recorder = AuditRecorder(journal, signing_key(settings), identity)
    return RetrievalService(settings, recorder, load_locked(settings.constitution_path))


def _parsed(user_config: Mapping[str, Any]) -> RetrievalUserConfig:
    try:
        return RetrievalUserConfig.model_validate(dict(user_config))
    except ValidationError as error:
        field, fault = first_fault(error, whole="user_config")
        raise InvalidInputError(f"user_config.{field}: {fault}", field=field) from None


def _open(wanted: RetrievalUserConfig) -> Searcher:
    try:
        from acgs.retrieval.opening import open_searcher
    except ImportError as error:
        raise UnavailableError("retrieval needs its extra: pip install 'acgs[retrieval]'") from error
    if wanted.index is None:
        raise InvalidInputError("no index is named", field="index")
    return open_searcher(wanted.index, encoder=wanted.encoder, configuration=wanted.configuration, router=wanted.router)
