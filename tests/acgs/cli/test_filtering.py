from __future__ import annotations

from pathlib import Path

import pytest

from acgs.cli.main import run

Calls = list[tuple[str, list[str], str | None]]


def test_actors_are_a_job_that_its_own_parser_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: Calls
) -> None:
    from train_jobs.data_filter import parse_arguments

    monkeypatch.chdir(tmp_path)
    words = ["set", "--output", "out", "--actors", "3", "--judged", "response", "--uncertain", "keep", "--json"]
    assert run(["data", "filter", *words, "--address", "http://head:8265"]) == 0
    ((module, said, address),) = jobs
    assert (module, address) == ("train_jobs.data_filter", "http://head:8265")
    options = parse_arguments(said)
    assert (options.data, options.output) == (tmp_path / "set", tmp_path / "out")
    assert (options.actors, options.judged, options.uncertain, options.as_json) == (3, "response", "keep", True)


def test_a_cluster_without_actors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: Calls) -> None:
    words = [str(tmp_path), "--output", str(tmp_path / "out"), "--address", "http://head:8265"]
    assert run(["data", "filter", *words]) == 2
    assert "--actors" in capsys.readouterr().err
    assert not jobs
