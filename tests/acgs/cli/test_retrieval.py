from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acgs.cli.main import run
from acgs.retrieval.configuration import Gate, RetrievalConfiguration, Route, write_configuration
from acgs.retrieval.corpus import write_collection
from tests.acgs.retrieval.corpora import TINY, write_static_encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_collection(TINY, folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_static_encoder(tmp_path_factory.mktemp("encoders") / "static"))


@pytest.fixture(scope="module")
def index(corpus: Path, encoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("indexes") / "tiny")
    assert run(["retrieval", "index", str(corpus), "--index", folder, "--encoder", encoder]) == 0
    return folder


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run(["retrieval", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_index_names_what_it_was_made_of_and_is_not_built_twice(
    corpus: Path, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "index",
        str(corpus),
        "--index",
        str(tmp_path / "index"),
        "--encoder",
        encoder,
        "--k1",
        "0.9",
        "--b",
        "0.4",
    ]
    first = _json(capsys, *words)
    assert first["documents"] == 12
    assert first["bm25"] == {"k1": 0.9, "b": 0.4}
    assert _json(capsys, *words) == first
    assert run(["retrieval", *words]) == 0
    assert first["digest"][:20] in capsys.readouterr().out


def test_a_search_shows_passages_with_route_and_versions(
    index: str, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "which physician treats the patient", "--index", index, "--encoder", encoder]
    answer = _json(capsys, *words, "--topk", "3")
    assert answer["results"][0]["id"] == "d3"
    assert len(answer["results"]) == 3
    assert (answer["route"], answer["predicted_gain"]) == ("full rerank", None)
    assert run(["retrieval", *words]) == 0
    shown = capsys.readouterr().out
    assert answer["configuration"] in shown
    assert "d3" in shown


@pytest.mark.parametrize("route", ["lexical", "fused", "cheap", "full"])
def test_a_route_can_be_chosen(route: str, index: str, encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _json(capsys, "search", "river bank", "--index", index, "--encoder", encoder, "--route", route)
    assert answer["route"].startswith(route)
    assert answer["results"][0]["id"] == "d7"


def test_a_configuration_decides_the_search(
    index: str, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = RetrievalConfiguration(route=Route.FUSED)
    write_configuration(configuration, tmp_path / "configuration.json")
    words = ["search", "river bank", "--index", index, "--encoder", encoder]
    answer = _json(capsys, *words, "--config", str(tmp_path / "configuration.json"))
    assert (answer["route"], answer["configuration"]) == ("fused", configuration.version)


def test_an_evaluation_shows_every_slice_and_counts_what_has_no_judgements(
    corpus: Path, index: str, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(corpus), "--index", index, "--encoder", encoder]
    found = _json(capsys, *words)
    assert (found["judged"], found["unjudged"]) == (5, ["q6"])
    assert {"global", "hard-NL", "short", "long"} == {item["name"] for item in found["slices"]}
    assert 0.5 < found["slices"][0]["metrics"]["ndcg@10"] <= 1
    assert found["slices"][0]["intervals"]["ndcg@10"] is None
    assert set(found["latency_ms"]) == {"p50", "p95", "p99"}
    assert run(["retrieval", *words]) == 0
    shown = capsys.readouterr().out
    assert "1 queries have no judgements" in shown
    assert "too few for an interval, or all alike" in shown


def test_a_public_collection_is_brought_into_the_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "doc-text.trec").write_text("<DOC>\n<DOCNO>1</DOCNO>\na dam\n</DOC>")
    (source / "query-text.trec").write_text("<num>7</num><title>DAM</title>")
    (source / "qrels").write_text("7 0 1 1\n")
    assert run(["retrieval", "import", "vaswani", str(source), str(tmp_path / "out")]) == 0
    assert "1 documents and 1 judged queries" in capsys.readouterr().out
    assert (tmp_path / "out" / "qrels.tsv").read_text().splitlines()[1] == "7\t1\t1"


def test_bad_input_ends_with_one_sentence_and_nothing_is_written(
    corpus: Path, index: str, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "docs.jsonl"
    empty.write_text("")
    gate = tmp_path / "gate.json"
    write_configuration(RetrievalConfiguration(gate=Gate(theta_star=0.1, delta=0.0)), gate)
    output = str(tmp_path / "output")
    for words, code in (
        (["index", str(empty), "--index", output, "--encoder", encoder], "validation"),
        (["index", str(tmp_path / "nowhere"), "--index", output, "--encoder", encoder], "validation"),
        (["index", str(corpus), "--index", output, "--encoder", encoder, "--b", "2"], "validation"),
        (["index", str(corpus), "--index", output, "--encoder", str(tmp_path / "nowhere")], "validation"),
        (["search", " ", "--index", index, "--encoder", encoder], "validation"),
        (["search", "river \udcff", "--index", index, "--encoder", encoder], "validation"),
        (["search", "river", "--index", index, "--encoder", encoder, "--budget-ms", "-1"], "validation"),
        (["search", "river", "--index", index, "--encoder", encoder, "--config", str(gate)], "validation"),
        (["search", "river", "--index", output, "--encoder", encoder], "validation"),
    ):
        assert _json(capsys, *words, code=2)["error"]["code"] == code
        assert not (tmp_path / "output").exists()
    assert run(["retrieval", "import", "unknown", str(corpus), output]) == 2
    assert "vaswani, cosqa, eu-ai-act" in capsys.readouterr().err


def test_a_damaged_index_and_another_encoder_are_refused(
    corpus: Path, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "index")
    assert run(["retrieval", "index", str(corpus), "--index", folder, "--encoder", encoder]) == 0
    capsys.readouterr()
    other = str(write_static_encoder(tmp_path / "other", seed=5))
    assert run(["retrieval", "search", "river", "--index", folder, "--encoder", other]) != 0
    assert "not the one this index was made with" in capsys.readouterr().err
    vectors = tmp_path / "index" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert run(["retrieval", "search", "river", "--index", folder, "--encoder", encoder]) != 0
    assert "vectors.npy is not what the index was made with" in capsys.readouterr().err
