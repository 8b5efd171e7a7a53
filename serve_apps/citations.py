"""Citations for decisions that ask for them: the request's text, searched by the retrieval application.

A decision never waits long for its citations and never fails with them: where the search is not answered, it says so.
Governance and retrieval know nothing of each other; they meet here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
import structlog

from acgs.errors import AcgsError, UnavailableError
from acgs.governance.citations import Citation, Cited, Uncited
from acgs.governance.schema import GovernanceRequest
from acgs.observability.metrics import GovernanceMetrics

SEARCH_SECONDS: Final = 2.0
"""For one search: a full rerank takes well under a second, and the decision has been ready since the beginning."""

BATCH_SECONDS: Final = 10.0
"""For all searches of one HTTP request together, far below the proxy's limit: a batch must not lose its decisions."""

APPLICATION: Final = "retrieval"


class Retriever(Protocol):
    """Answers a search."""

    async def __call__(self, search: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of `POST /retrieval/search` for the fields of its body.

        Raises:
            AcgsError: nothing was searched; the message says why.
        """
        ...


class Citer:
    """Puts citations beside decisions."""

    def __init__(
        self,
        retriever: Retriever,
        metrics: GovernanceMetrics,
        constitution_digest: str,
        *,
        search_seconds: float = SEARCH_SECONDS,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        """`constitution_digest`: of the constitution that judged; a search under another one is no citation for it."""
        self._retriever = retriever
        self._metrics = metrics
        self._digest = constitution_digest
        self._search_seconds = search_seconds
        self._batch_seconds = batch_seconds
        self._log = structlog.get_logger("citations")

    async def cited(self, requests: Sequence[GovernanceRequest], answers: Sequence[bytes]) -> list[bytes]:
        """The answers of one HTTP request, with citations where they are asked for; the others byte by byte."""
        deadline = time.monotonic() + self._batch_seconds
        return [
            _joined(answer, await self._citations(request, deadline)) if request.citations else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    async def _citations(self, request: GovernanceRequest, deadline: float) -> Cited | Uncited:
        found = await self._search(request, deadline)
        self._metrics.cited(found.status)
        return found

    async def _search(self, request: GovernanceRequest, deadline: float) -> Cited | Uncited:
        seconds = min(self._search_seconds, deadline - time.monotonic())
        if seconds <= 0:
            return self._uncited("timeout", f"the batch's searches took their {self._batch_seconds:g} s")
        search = {
            "query": request.query,
            "topk": request.citations,
            "receipt": True,
            "constitutional_hash": self._digest,
        }
        try:
            async with asyncio.timeout(seconds):
                return _cited(await self._retriever(search))
        except TimeoutError:
            return self._uncited("timeout", f"retrieval did not answer in {seconds:.2g} s")
        except AcgsError as error:
            return self._uncited(error.code, error.message)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a search, the decision stands
            return self._uncited("error", f"retrieval failed ({type(error).__name__})")

    def _uncited(self, code: str, reason: str) -> Uncited:
        self._log.warning("no citations", error_type=code, reason=reason)
        return Uncited(reason=reason)


def _cited(found: Mapping[str, Any]) -> Cited:
    passages = [Citation.of(hit) for hit in found["results"]]
    return Cited(
        status="found" if passages else "nothing_found",
        passages=passages,
        **{name: found[name] for name in Cited.model_fields.keys() - {"status", "passages"}},
    )


def _joined(answer: bytes, citations: Cited | Uncited) -> bytes:
    """The answer, a JSON object, with one more field."""
    return answer[:-1] + b',"citations":' + orjson.dumps(citations.model_dump()) + b"}"


class RetrievalApplication:
    """The retriever: the application's own handle, opened by the first search."""

    def __init__(self) -> None:
        self._ask: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None

    async def __call__(self, search: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `Retriever`.

        Raises:
            AcgsError: what the application raises.
            UnavailableError: it is not deployed, is overloaded, or was lost.
        """
        from ray.exceptions import RayError
        from ray.serve.exceptions import BackPressureError, RayServeException

        if self._ask is None:
            self._ask = await _opened()
        response: Any = self._ask(search)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # nobody waits for it any more: it shall not take the place of one that somebody does
            raise
        except BackPressureError as error:
            raise UnavailableError("retrieval has as many searches as it takes; ask again") from error
        except (RayError, RayServeException) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, AcgsError):
                raise cause from error
            raise UnavailableError(f"the retrieval application does not answer ({type(error).__name__})") from error


async def _opened() -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    """The application's `passages`, from afar.

    Raises:
        UnavailableError: there is no such application.
    """
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        # Asks the controller, which must not hold up the decisions of others.
        return (await asyncio.to_thread(serve.get_app_handle, APPLICATION)).passages.remote
    except RayServeException as error:
        raise UnavailableError("the retrieval application is not deployed") from error
