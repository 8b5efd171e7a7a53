"""Citations beside decisions, without Ray: a stand-in for the retrieval application, and its service itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from acgs.audit.installation import signing_key
from acgs.audit.receipts import Receipt, verify_receipt
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import ConstitutionMismatchError, UnavailableError
from acgs.governance.citations import Cited
from acgs.governance.schema import GovernanceRequest
from acgs.observability.metrics import GovernanceMetrics
from acgs.retrieval.schema import SearchRequest
from acgs.settings import Settings
from serve_apps.citations import Citer, RetrievalApplication, Retriever
from serve_apps.retrieval_service import RetrievalService, open_service
from tests.acgs.retrieval.corpora import TINY, write_static_encoder

METRICS = GovernanceMetrics("cdd01ef066bc6cf2")
DIGEST = "d" * 64
ANSWER = b'{"evaluation_id":"eval_01234567","final_decision":"comply"}'
SECRET = "the query of a caller"
FOUND = {
    "results": [{"rank": 1, "id": "art_5", "title": "Prohibited", "text": "shall be prohibited", "score": 0.5}],
    "route": "fused",
    "predicted_gain": None,
    "spent_ms": 0.0,
    "total_ms": 1.0,
    "configuration": "t1-1",
    "index": "i" * 64,
    "epoch": 3,
    "constitutional_hash": "cdd01ef066bc6cf2",
    "receipt": {"receipt_id": "r1"},
    "receipt_nonce": "00",
    "audit_leaf": "ff",
}


class StandIn:
    """Answers every search alike, or fails, or never answers."""

    def __init__(self, answer: Mapping[str, Any] | Exception | None) -> None:
        self.searches: list[Mapping[str, Any]] = []
        self._answer = answer

    async def __call__(self, search: Mapping[str, Any]) -> Mapping[str, Any]:
        self.searches.append(search)
        if self._answer is None:
            await asyncio.Event().wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer or {}


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> GovernanceMetrics:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return GovernanceMetrics("cdd01ef066bc6cf2")


def counted(metrics: GovernanceMetrics) -> dict[str, float]:
    lines = [
        line for line in metrics.exposition().decode().splitlines() if line.startswith("governance_citations_total{")
    ]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def cite(citer: Citer, *asked: int) -> list[dict[str, Any]]:
    """Citations of the answers to requests that ask for so many."""
    requests = [GovernanceRequest(query=SECRET, citations=count) for count in asked]
    answers = asyncio.run(citer.cited(requests, [ANSWER] * len(requests)))
    return [orjson.loads(answer)["citations"] for answer in answers]


def test_the_text_is_searched_under_the_constitution_that_judged(metrics: GovernanceMetrics) -> None:
    retriever = StandIn(FOUND)
    [found] = cite(Citer(retriever, metrics, DIGEST), 4)
    assert retriever.searches == [{"query": SECRET, "topk": 4, "receipt": True, "constitutional_hash": DIGEST}]
    assert SearchRequest.model_validate(retriever.searches[0])
    assert found == {
        "status": "found",
        "passages": [{"rank": 1, "id": "art_5", "title": "Prohibited", "excerpt": "shall be prohibited", "score": 0.5}],
        **{name: FOUND[name] for name in Cited.model_fields.keys() - {"status", "passages"}},
    }
    assert counted(metrics) == {"found": 1, "nothing_found": 0, "unavailable": 0}


def test_nothing_found_is_an_answer_of_its_own(metrics: GovernanceMetrics) -> None:
    [found] = cite(Citer(StandIn({**FOUND, "results": []}), metrics, DIGEST), 4)
    assert (found["status"], found["passages"], found["receipt"]) == ("nothing_found", [], FOUND["receipt"])
    assert counted(metrics)["nothing_found"] == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (UnavailableError("no index is configured"), "no index is configured"),
        (ConstitutionMismatchError("Invalid constitutional hash."), "Invalid constitutional hash."),
        (ConnectionError("secret address"), "retrieval failed (ConnectionError)"),
        ({"results": []}, "retrieval failed (KeyError)"),
        (None, "retrieval did not answer in 0.05 s"),
    ],
)
def test_a_search_that_is_not_answered_leaves_the_decision_and_says_why(
    metrics: GovernanceMetrics, fault: Any, reason: str
) -> None:
    citer = Citer(StandIn(fault), metrics, DIGEST, search_seconds=0.05)
    with structlog.testing.capture_logs() as logs:
        assert cite(citer, 4) == [{"status": "unavailable", "reason": reason}]
    assert counted(metrics)["unavailable"] == 1
    assert [line["event"] for line in logs] == ["no citations"]
    assert SECRET not in str(logs)


def test_a_batch_does_not_wait_for_every_one_of_its_searches(metrics: GovernanceMetrics) -> None:
    retriever = StandIn(None)
    found = cite(Citer(retriever, metrics, DIGEST, search_seconds=0.05, batch_seconds=0.08), *[1] * 50)
    assert {item["status"] for item in found} == {"unavailable"}
    assert found[-1]["reason"] == "the batch's searches took their 0.08 s"
    assert len(retriever.searches) <= 3


@given(asked=st.lists(st.integers(0, 2), min_size=1), answers=st.sampled_from([FOUND, UnavailableError("down")]))
def test_answers_without_citations_stay_byte_by_byte_and_the_others_gain_one_field(
    asked: list[int], answers: Mapping[str, Any] | Exception
) -> None:
    retriever = StandIn(answers)
    requests = [GovernanceRequest(query="hello", citations=count) for count in asked]
    given_out = [orjson.dumps({"evaluation_id": f"eval_{place}"}) for place in range(len(asked))]
    cited = asyncio.run(Citer(retriever, METRICS, DIGEST).cited(requests, given_out))
    for count, before, after in zip(asked, given_out, cited, strict=True):
        if count == 0:
            assert after is before
        else:
            parsed = orjson.loads(after)
            assert parsed.pop("citations")["status"] in {"found", "unavailable"}
            assert parsed == orjson.loads(before)
    assert len(retriever.searches) == sum(count > 0 for count in asked)


class Response:
    """What a Serve handle gives for a call: awaited, it fails as told or never ends."""

    def __init__(self, fault: Exception | None) -> None:
        self.cancelled = False
        self._fault = fault

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Generator[Any, None, Mapping[str, Any]]:
        if self._fault is not None:
            raise self._fault
        yield from asyncio.Event().wait().__await__()
        return {}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[Response], None]:
    """Puts a response in the place of Serve's for the retrieval application."""

    def served(response: Response) -> None:
        passages = SimpleNamespace(remote=lambda _search: response)
        monkeypatch.setattr("ray.serve.get_app_handle", {"retrieval": SimpleNamespace(passages=passages)}.__getitem__)

    return served


def faults() -> list[tuple[Exception, str]]:
    from ray.exceptions import ActorUnavailableError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    refused = RayTaskError("passages", "a traceback", UnavailableError("no index is configured"))
    return [
        (BackPressureError(1, 1), "retrieval has as many searches as it takes; ask again"),
        (refused.as_instanceof_cause(), "no index is configured"),
        (RayTaskError("passages", "a traceback", ValueError(SECRET)), "(RayTaskError)"),
        (ActorUnavailableError("lost", None), "(ActorUnavailableError)"),
        (DeploymentUnavailableError("retrieval"), "(DeploymentUnavailableError)"),
    ]


def test_whatever_the_application_does_instead_of_answering_is_a_reason(
    served: Callable[[Response], None], metrics: GovernanceMetrics
) -> None:
    for fault, reason in faults():
        served(Response(fault))
        [found] = cite(Citer(RetrievalApplication(), metrics, DIGEST), 1)
        assert found["status"] == "unavailable"
        assert found["reason"].endswith(reason)


def test_a_search_that_nobody_waits_for_is_taken_back(
    served: Callable[[Response], None], metrics: GovernanceMetrics
) -> None:
    response = Response(None)
    served(response)
    cite(Citer(RetrievalApplication(), metrics, DIGEST, search_seconds=0.05), 1)
    assert response.cancelled


def test_without_a_question_no_handle_is_opened(monkeypatch: pytest.MonkeyPatch, metrics: GovernanceMetrics) -> None:
    monkeypatch.delattr("ray.serve.get_app_handle")
    requests = [GovernanceRequest(query="hello")]
    assert asyncio.run(Citer(RetrievalApplication(), metrics, DIGEST).cited(requests, [ANSWER])) == [ANSWER]


@pytest.fixture
def retrieval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RetrievalService]:
    """The retrieval application's service with an index of the tiny collection."""
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index

    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    encoder = write_static_encoder(tmp_path / "encoder")
    build_index(TINY.documents, open_encoder(str(encoder)), tmp_path / "index")
    service = open_service()
    service.reconfigure({"index": str(tmp_path / "index"), "encoder": str(encoder), "epoch": 5})
    yield service
    service.close()


def asking(service: RetrievalService) -> Retriever:
    async def ask(search: Mapping[str, Any]) -> Mapping[str, Any]:
        return await service.search(SearchRequest.model_validate(search), None)

    return ask


def test_a_citation_is_proven_by_the_receipt_of_its_search(
    retrieval: RetrievalService, metrics: GovernanceMetrics, constitution: LockedConstitution
) -> None:
    citer = Citer(asking(retrieval), metrics, constitution.digest)
    request = GovernanceRequest(query="river flood", citations=2)
    [answer] = asyncio.run(citer.cited([request], [ANSWER]))
    found = orjson.loads(answer)["citations"]
    named = [passage["id"] for passage in found["passages"]]
    assert (set(named), found["epoch"]) == ({"d7", "d8"}, 5)
    receipt = Receipt.model_validate(found["receipt"])
    verify_receipt(receipt, [signing_key(Settings()).public])
    canonical = orjson.dumps(["river flood", 2, None, named])
    assert receipt.request_digest == hashlib.sha256(bytes.fromhex(found["receipt_nonce"]) + canonical).hexdigest()
    assert (receipt.model_version, receipt.bundle_version) == (found["index"], found["configuration"])
    assert (receipt.constitution_digest, receipt.verdict) == (constitution.digest, found["route"])


def test_a_search_that_was_paid_for_spends_nothing_twice(
    retrieval: RetrievalService, metrics: GovernanceMetrics, constitution: LockedConstitution
) -> None:
    asked = [1] * (Settings().rate_limit_burst_capacity + 5)
    found = cite(Citer(asking(retrieval), metrics, constitution.digest), *asked)
    assert {item["status"] for item in found} == {"found"}


def test_a_search_under_another_constitution_is_no_citation(
    retrieval: RetrievalService, metrics: GovernanceMetrics
) -> None:
    [found] = cite(Citer(asking(retrieval), metrics, "0" * 64), 1)
    assert found["status"] == "unavailable"
    assert load_locked().label in found["reason"]
