from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acgs.errors import InvalidInputError
from acgs.release.contract import WAIVABLE, t1_contract
from acgs.release.evidence import Evidence
from acgs.release.report import CONTRACT_JSON, CONTRACT_MARKDOWN, ContractReport, markdown, write_report
from acgs.statistics.evidence import Verdict

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
Build = Callable[..., Evidence]


def test_a_candidate_that_every_guard_passes_is_released(evidence_with: Build) -> None:
    report = t1_contract().judge(evidence_with(), at=AT)
    assert report.released
    assert {part.verdict for part in report.result.parts} == {Verdict.PASS}
    assert {part.split_digest for part in report.result.parts} == {"2" * 64}


@pytest.mark.parametrize("part", ["quality", "latency", "overlap", "forecasts", "effect"])
def test_a_part_that_was_not_measured_stops_the_release(evidence_with: Build, part: str) -> None:
    report = t1_contract().judge(evidence_with(**{part: None}), at=AT)
    assert (report.verdict, report.released) == (Verdict.INSUFFICIENT, False)


def test_a_waiver_stands_in_the_report_with_its_reason(evidence_with: Build) -> None:
    evidence = evidence_with(overlap=None)
    report = t1_contract(waived={"approximate search": "the corpus is searched exactly"}).judge(evidence, at=AT)
    assert report.released
    assert "| approximate search | the corpus is searched exactly |" in markdown(report)


@pytest.mark.parametrize("waived", [{"quality, all queries": "no time"}, {"calibration": " "}, {"typo": "x"}])
def test_quality_and_latency_cannot_be_waived_nor_anything_without_a_reason(waived: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="waiver needs a reason"):
        t1_contract(waived=waived)


def test_the_blast_radius_is_reported_and_not_judged(evidence_with: Build) -> None:
    """J = 1 - f (1 - J_f): a quarter of the traffic at 0.6."""
    report = t1_contract().judge(evidence_with(), at=AT)
    assert [item.value for item in report.observations] == pytest.approx([0.25, 0.6, 0.9])
    nothing = t1_contract().judge(evidence_with(treated=None), at=AT)
    assert (nothing.observations, nothing.verdict) == ((), report.verdict)
    untouched = t1_contract().judge(evidence_with(treated={"requests": 10, "jaccard": []}), at=AT)
    assert [item.value for item in untouched.observations] == [0.0]


def test_the_report_is_written_in_both_forms_and_can_be_read_again(evidence_with: Build, tmp_path: Path) -> None:
    evidence = evidence_with(latency=None)
    report = t1_contract().judge(evidence, at=AT)
    write_report(tmp_path, report)
    assert ContractReport.model_validate_json((tmp_path / CONTRACT_JSON).read_bytes()) == report
    page = (tmp_path / CONTRACT_MARKDOWN).read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| latency, p95 |")]
    assert rows == ["| latency, p95 | INSUFFICIENT | - | - | - | 0 | 400 | none | no data: this was not measured |"]
    for shown in (evidence.digest(), "2" * 64, "T0 1.0.0", "| quality, slice: hard-NL | PASS |", "| Seed | 7 |"):
        assert shown in page


def test_a_reason_cannot_break_the_page(evidence_with: Build) -> None:
    audit = {"verdict": "REFUSED", "reasons": ["a | b\n# Released"], "n": 10, "method": "DR"}
    page = markdown(t1_contract().judge(evidence_with(effect=audit), at=AT))
    assert "a \\| b # Released |" in page
    assert "\n# Released" not in page


def test_the_same_evidence_is_judged_the_same_again(evidence_with: Build) -> None:
    first, second = (t1_contract().judge(evidence_with(), at=AT) for _ in range(2))
    assert first == second


def test_only_guards_that_exist_can_be_waived() -> None:
    contract = t1_contract(waived=dict.fromkeys(WAIVABLE, "not used here"))
    assert len(contract.guard.guards) == 5
