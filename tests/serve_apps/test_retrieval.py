"""The retrieval service without Ray: what it answers, what it refuses, and how its configuration changes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from acgs.audit.installation import signing_key
from acgs.audit.receipts import Receipt, verify_receipt
from acgs.errors import AcgsError, ConstitutionMismatchError, UnavailableError
from acgs.retrieval.configuration import RetrievalConfiguration, Route, write_configuration
from acgs.retrieval.schema import SearchRequest
from acgs.settings import Settings
from serve_apps.retrieval_service import RetrievalService, open_service
from tests.acgs.retrieval.corpora import TINY, write_static_encoder

LABEL = "cdd01ef066bc6cf2"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A user_config that names an index of the tiny collection."""
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index

    folder = tmp_path_factory.mktemp("served")
    encoder = write_static_encoder(folder / "encoder")
    build_index(TINY.documents, open_encoder(str(encoder)), folder / "index")
    return {"index": str(folder / "index"), "encoder": str(encoder)}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RetrievalService]:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    opened = open_service()
    yield opened
    opened.close()


def ask(service: RetrievalService, query: str = "river flood", **fields: Any) -> dict[str, Any]:
    request = SearchRequest(query=query, **{"constitutional_hash": LABEL, **fields})
    return asyncio.run(service.search(request, "test"))


def test_without_an_index_nothing_is_searched_and_the_reason_is_given(service: RetrievalService) -> None:
    service.reconfigure({})
    with pytest.raises(UnavailableError, match="no index is configured"):
        ask(service)
    assert service.state()["status"] == "unavailable"


def test_an_answer_names_route_budget_gain_and_configuration(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure({**made, "epoch": 3})
    answer = ask(service, topk=2)
    assert {hit["id"] for hit in answer["results"]} == {"d7", "d8"}
    assert answer["route"] == "full rerank"
    assert answer["spent_ms"] > 0
    assert answer["predicted_gain"] is None
    assert (answer["epoch"], answer["constitutional_hash"]) == (3, LABEL)
    assert answer["configuration"] == RetrievalConfiguration().version


def test_a_budget_of_nothing_searches_by_words_alone(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure(made)
    answer = ask(service, budget_ms=0)
    assert (answer["route"], answer["spent_ms"]) == ("lexical", 0.0)


def test_another_constitution_is_refused(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure(made)
    with pytest.raises(ConstitutionMismatchError):
        ask(service, constitutional_hash="0" * 16)


def test_a_receipt_commits_to_query_and_results(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure(made)
    answer = ask(service, topk=3, receipt=True)
    receipt = Receipt.model_validate(answer["receipt"])
    verify_receipt(receipt, [signing_key(Settings()).public])
    canonical = orjson.dumps(["river flood", 3, None, [hit["id"] for hit in answer["results"]]])
    committed = hashlib.sha256(bytes.fromhex(answer["receipt_nonce"]) + canonical).hexdigest()
    assert receipt.request_digest == committed
    assert (receipt.domain, receipt.bundle_version) == ("retrieval", answer["configuration"])


def test_a_new_configuration_takes_the_old_ones_place(
    service: RetrievalService, made: dict[str, Any], tmp_path: Path
) -> None:
    service.reconfigure(made)
    changed = RetrievalConfiguration(route=Route.FUSED)
    write_configuration(changed, tmp_path / "t1.json")
    service.reconfigure({**made, "configuration": str(tmp_path / "t1.json"), "epoch": 1})
    answer = ask(service)
    assert (answer["route"], answer["epoch"], answer["configuration"]) == ("fused", 1, changed.version)


@pytest.mark.parametrize(
    "broken",
    [{"index": "/nowhere"}, {"configuration": "/nowhere.json"}, {"router": "/nowhere.json"}, {"surprise": 1}],
)
def test_a_configuration_that_cannot_be_opened_leaves_the_old_one_in_force(
    service: RetrievalService, made: dict[str, Any], broken: dict[str, Any]
) -> None:
    service.reconfigure({**made, "epoch": 1})
    service.reconfigure({**made, "epoch": 2, **broken})
    assert ask(service)["epoch"] == 1
    assert service.state()["refused"]


def test_a_query_that_cannot_be_searched_is_an_input_error(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure(made)
    with pytest.raises(AcgsError) as caught:
        ask(service, query="   ")
    assert (caught.value.code, caught.value.field) == ("validation", "query")


def test_the_application_starts_without_the_retrieval_libraries() -> None:
    """The base installation has none of them; its services must come up all the same."""
    import subprocess
    import sys

    blocked = "bm25s Stemmer usearch numkong torch transformers lightgbm"
    code = (
        f"import sys\nfor name in '{blocked}'.split(): sys.modules[name] = None\n"
        "import serve_apps.retrieval, serve_apps.retrieval_service\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_taking_the_index_away_ends_the_service(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure(made)
    service.reconfigure({"index": None, "epoch": 2})
    with pytest.raises(UnavailableError, match="no index is configured"):
        ask(service)
    assert service.state()["status"] == "unavailable"


def test_a_path_that_cannot_be_one_is_refused(service: RetrievalService, made: dict[str, Any]) -> None:
    service.reconfigure({**made, "epoch": 1})
    service.reconfigure({**made, "configuration": "x\u0000", "epoch": 2})
    assert ask(service)["epoch"] == 1
