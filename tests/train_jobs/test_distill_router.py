"""The distillation of a router as a job: what it refuses, what it writes, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.judged_corpus import QUERIES, write_judged_corpus
from train_jobs.distill_router import main


@pytest.fixture(scope="module")
def judged_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judged_corpus(tmp_path_factory.mktemp("judged"))


def words(folder: Path, output: Path, *more: str) -> list[str]:
    places = {"--corpus": folder / "corpus", "--encoder": folder / "encoder", "--index": output / "index"}
    given = [word for name, place in places.items() for word in (name, str(place))]
    return [*given, "--output", str(output / "out"), *more]


def test_the_router_is_written_with_what_was_measured_of_it(
    judged_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from acgs.retrieval.router.router_file import read_router
    from acgs.retrieval.routing import open_predictor

    assert main(words(judged_corpus, tmp_path, "--json")) == 0
    facts = json.loads(capsys.readouterr().out)
    document = read_router(Path(facts["router"]))
    assert document.queries == facts["queries"] == QUERIES
    assert document.training_data_digest == facts["training_data_digest"]
    regret = document.performance_guarantees.no_regret
    assert regret is not None
    assert regret.model_dump(mode="json") == facts["no_regret"]
    assert (regret.lower, regret.n) == (facts["no_regret"]["lower"], QUERIES)
    for output, fidelity in facts["fidelity"].items():
        assert document.performance_guarantees.fidelity[output].model_dump(mode="json") == fidelity
    assert 0 < facts["same_route"] <= 1
    assert facts["no_regret"]["differing"] <= round((1 - facts["same_route"]) * QUERIES)
    assert open_predictor(Path(facts["router"])) is not None

    assert main(words(judged_corpus, tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "tables against teacher" in shown
    assert f"{regret.lower:+.4f}" in shown, "the same data give the same router"


@pytest.mark.parametrize(("k1", "code"), [(1.2, 0), (1.7, 2)])
def test_an_index_that_is_there_is_taken_or_refused_and_never_changed(
    judged_corpus: Path, tmp_path: Path, k1: float, code: int
) -> None:
    from acgs.retrieval.corpus import read_documents
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import Bm25Options, build_index, open_index

    encoder = open_encoder(str(judged_corpus / "encoder"))
    documents = read_documents(judged_corpus / "corpus")
    made = build_index(documents, encoder, tmp_path / "index", bm25=Bm25Options(k1=k1))
    assert main(words(judged_corpus, tmp_path)) == code
    assert open_index(tmp_path / "index").manifest == made


def test_too_few_judged_queries_give_no_router(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_judged_corpus(tmp_path / "few", 30)
    assert main(words(folder, tmp_path)) == 1
    assert "30 judged queries are too few" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_looking_whether_it_can_start_writes_nothing(
    judged_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(judged_corpus, tmp_path, "--check", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == QUERIES
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["corpus", "encoder", "index"])
def test_what_cannot_be_used_is_refused_in_one_sentence(
    judged_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index
    from tests.acgs.retrieval.corpora import made_documents

    given = words(judged_corpus, tmp_path)
    if broken == "index":
        build_index(made_documents(20, seed=5), open_encoder(str(judged_corpus / "encoder")), tmp_path / "index")
    else:
        given[given.index(f"--{broken}") + 1] = str(tmp_path / "nowhere")
    assert main(given) == 2
    error = capsys.readouterr().err
    assert ("other documents" if broken == "index" else "nowhere") in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
