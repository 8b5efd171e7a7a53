from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.configuration import Gate, RetrievalConfiguration, write_configuration
from acgs.retrieval.opening import open_searcher
from acgs.retrieval.query_features import NAMES
from acgs.retrieval.routing import open_predictor


def _write_router(path: Path, names: tuple[str, ...]) -> Path:
    """A router over random features whose gain falls with nl_confidence."""
    pytest.importorskip("lightgbm")
    from acgs.retrieval.router.distillation import distill
    from acgs.retrieval.router.router_file import write_router

    rng = np.random.default_rng(0)
    features = rng.random((240, len(names)))
    entropy, plain = (features[:, names.index(name)] for name in ("entropy", "nl_confidence"))
    targets = {"tau": 0.2 + 0.5 * entropy, "spend": 2 + 4 * entropy, "gain": 0.3 - 0.3 * plain}
    write_router(path, distill(features, names, targets, np.arange(240) % 3, 0), version="1", at=datetime.now(UTC))
    return path


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_router(tmp_path_factory.mktemp("router") / "router_distilled_int8.json", NAMES)


def test_a_searcher_is_opened_with_its_configuration_and_router(
    index_folder: Path, encoder_folder: Path, router: Path, tmp_path: Path
) -> None:
    configuration = RetrievalConfiguration(gate=Gate(theta_star=0.1, delta=0.05))
    write_configuration(configuration, tmp_path / "configuration.json")
    searcher = open_searcher(
        index_folder,
        encoder=str(encoder_folder),
        configuration=tmp_path / "configuration.json",
        router=router,
    )
    found = searcher.search("which physician treats the patient")
    assert searcher.configuration == configuration
    assert found.predicted_gain is not None
    assert found.route is configuration.gate.route(found.predicted_gain)  # type: ignore[union-attr]


def test_a_plan_follows_the_routers_directions(router: Path) -> None:
    predictor = open_predictor(router)

    def plan(**changes: float) -> list[float]:
        features = np.array([changes.get(name, 0.5) for name in NAMES])
        said = predictor.decide(features)
        return [said.tau, said.spend_ms, said.gain]

    assert plan(entropy=0.9)[0] > plan(entropy=0.1)[0]
    assert plan(entropy=0.9)[1] > plan(entropy=0.1)[1]
    assert plan(nl_confidence=0.9)[2] < plan(nl_confidence=0.1)[2]


def test_a_router_of_other_features_is_refused(tmp_path: Path) -> None:
    other = _write_router(tmp_path / "router.json", (*NAMES[:-1], "other"))
    with pytest.raises(InvalidInputError, match="other features"):
        open_predictor(other)


def test_a_damaged_router_is_refused(router: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "router.json"
    damaged.write_bytes(router.read_bytes().replace(b'"spend"', b'"Spend"', 1))
    with pytest.raises((InvalidInputError, IntegrityError)):
        open_predictor(damaged)


def test_an_index_is_checked_when_a_searcher_is_opened(tmp_path: Path, encoder_folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="no finished index"):
        open_searcher(tmp_path, encoder=str(encoder_folder))


def test_a_searcher_works_on_one_thread(index_folder: Path, encoder_folder: Path) -> None:
    open_searcher(index_folder, encoder=str(encoder_folder))
    assert {library["num_threads"] for library in threadpool_info()} == {1}
