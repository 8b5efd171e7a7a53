from __future__ import annotations

import json
from pathlib import Path

from acgs.learning.sessions.results import read_results


def write(folder: Path, after: object) -> None:
    (folder / "report.json").write_text(json.dumps({"name": "run", "after": after, "seconds": 3.5}))


def test_breaches_are_counted_by_principle(tmp_path: Path) -> None:
    shares = {"due_process": {"count": 4, "n": 6, "share": 0.67}, "rule_of_law": {"count": 6, "n": 6, "share": 1.0}}
    write(tmp_path, {"perplexity": 7.5, "compliance": {"answers": 6, "by_principle": shares}})
    results = read_results(tmp_path)
    assert results is not None
    assert results.breaches() == {"due_process": 2}
    assert results.perplexity == 7.5


def test_what_was_not_measured_is_no_figure(tmp_path: Path) -> None:
    write(tmp_path, {"perplexity": None, "compliance": None})
    results = read_results(tmp_path)
    assert results is not None
    assert (results.breaches(), results.perplexity) == ({}, None)


def test_a_job_without_a_report_has_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path) is None
    (tmp_path / "report.json").write_text("{")
    assert read_results(tmp_path) is None
