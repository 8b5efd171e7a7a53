from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.decision import Governor
from acgs.governance.evaluation import FileEvaluator, NumberedLine, SecondTierLogits, numbered
from acgs.settings import Settings

BENIGN, HARMFUL, UNCLEAR = "please help me with my garden", "build a bomb", "the knife in the garden"


def lines(*requests: Any) -> list[NumberedLine]:
    return list(numbered(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in requests))


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, max_query_chars=200, max_context_depth=4)


def second_tier_of(governor: Governor, asked: list[list[str]], logit: float = 9.0) -> SecondTierLogits:
    def logits(texts: list[str]) -> NDArray[np.float32]:
        asked.append(texts)
        return np.full((len(texts), len(governor.bundle.manifest.heads)), logit, dtype=np.float32)

    return logits


def test_a_record_holds_what_the_governor_decides_and_what_decided_it(governor: Governor, limits: Settings) -> None:
    context = {"audit_logging": False}
    found = FileEvaluator(governor, limits).judge(
        lines({"id": "a", "query": HARMFUL}, {"id": 7, "query": BENIGN, "domain": "legal", "context": context})
    )
    expected = governor.decide(BENIGN, "legal", context)
    assert [record["final_decision"] for record in found] == ["violate", "constitutional_violation"]
    assert found[0]["id"] == "a"
    assert found[1] == {
        "line": 2,
        "input_sha256": lines({}, {"id": 7, "query": BENIGN, "domain": "legal", "context": context})[1].digest,
        "id": 7,
        "final_decision": "constitutional_violation",
        "confidence": expected.consensus.confidence,
        "violation_probability": expected.consensus.violation_probability,
        "score": expected.evaluation.score,
        "matched_rules": expected.matched_rules,
        "principle_scores": expected.principle_scores,
        "tier": "inline",
        "mode": "inline",
        "constitution_digest": governor.constitution.digest,
        "bundle_version": governor.bundle.version,
    }


def test_no_text_of_the_request_is_in_its_record(governor: Governor, limits: Settings) -> None:
    request = {"query": f"{HARMFUL} for Xanthippe", "context": {"note": "purple-elephant in the garden of the king"}}
    record = json.dumps(FileEvaluator(governor, limits).judge(lines(request)))
    assert "Xanthippe" not in record
    assert "purple-elephant" not in record


def test_the_second_tier_gets_the_uncertain_texts_of_a_batch_in_one_call(governor: Governor, limits: Settings) -> None:
    asked: list[list[str]] = []
    evaluator = FileEvaluator(governor, limits, second_tier=second_tier_of(governor, asked))
    prose = "a note about the garden and the weather"
    batch = lines(
        {"query": UNCLEAR}, {"query": BENIGN}, {"query": UNCLEAR, "context": {"note": prose}}, {"query": HARMFUL}
    )
    found = evaluator.judge(batch)
    assert asked == [[UNCLEAR, UNCLEAR, prose]]
    assert [record["tier"] for record in found] == ["comprehensive", "inline", "comprehensive", "inline"]
    assert [record["final_decision"] for record in found] == ["violate", "comply", "violate", "violate"]
    assert {record["mode"] for record in found} == {"comprehensive"}


def test_the_second_tier_is_not_asked_about_a_batch_without_doubt(governor: Governor, limits: Settings) -> None:
    asked: list[list[str]] = []
    FileEvaluator(governor, limits, second_tier=second_tier_of(governor, asked)).judge(lines({"query": BENIGN}))
    assert asked == []


BAD_LINES = [
    (b"{", "line"),
    (b'"a text"', "line"),
    (b"[]", "line"),
    (b'{"query": NaN}', "line"),
    (b"\xff\xfe", "line"),
    ({"domain": "legal"}, "query"),
    ({"query": ""}, "query"),
    ({"query": "  "}, "query"),
    ({"query": "x" * 201}, "query"),
    ({"query": 5}, "query"),
    ({"query": BENIGN, "domain": "astrology"}, "domain"),
    ({"query": BENIGN, "context": []}, "context"),
    ({"query": BENIGN, "context": {"a": [[[[1]]]]}}, "context"),
    ({"query": BENIGN, "context": {"audit_logging": "no"}}, "context.audit_logging"),
    ({"query": BENIGN, "label": 1}, "label"),
]


@pytest.mark.parametrize(("bad", "field"), BAD_LINES)
def test_a_line_that_cannot_be_judged_stops_the_run_by_number_and_field(
    governor: Governor, limits: Settings, bad: Any, field: str
) -> None:
    evaluator = FileEvaluator(governor, limits)
    batch = lines({"query": BENIGN}, bad, {"query": HARMFUL})
    assert [record["line"] for record in evaluator.judge(batch)] == [1]
    with pytest.raises(InvalidInputError, match="line 2: ") as caught:
        evaluator.judge(batch[1:])
    assert caught.value.field == field


@pytest.mark.parametrize(("bad", "field"), BAD_LINES)
def test_a_line_that_cannot_be_judged_can_be_recorded_instead(
    governor: Governor, limits: Settings, bad: Any, field: str
) -> None:
    found = FileEvaluator(governor, limits, on_error="record").judge(lines({"query": BENIGN}, bad, {"query": HARMFUL}))
    assert [record["line"] for record in found] == [1, 2, 3]
    assert found[1]["error"]["field"] == field
    assert "final_decision" not in found[1]
    assert found[2]["final_decision"] == "violate"


def test_an_error_record_keeps_the_id_where_the_line_has_one(governor: Governor, limits: Settings) -> None:
    evaluator = FileEvaluator(governor, limits, on_error="record")
    assert evaluator.judge(lines({"id": "k", "query": BENIGN, "domain": "no"}))[0]["id"] == "k"


def test_what_a_stop_finds_begun_is_finished_and_nothing_more_is_begun(governor: Governor, limits: Settings) -> None:
    answers = iter([False, False, True])
    asked: list[list[str]] = []
    evaluator = FileEvaluator(governor, limits, second_tier=second_tier_of(governor, asked))
    found = evaluator.judge(lines(*[{"query": UNCLEAR}] * 5), lambda: next(answers))
    assert [record["tier"] for record in found] == ["comprehensive", "comprehensive"]


def test_a_failing_second_tier_fails_the_batch_rather_than_leave_it_undecided(
    governor: Governor, limits: Settings
) -> None:
    def fails(texts: list[str]) -> NDArray[np.float32]:
        raise UnavailableError("out of memory")

    with pytest.raises(UnavailableError):
        FileEvaluator(governor, limits, second_tier=fails).judge(lines({"query": UNCLEAR}))


@given(st.lists(st.sampled_from([b"x", b" ", b"", b"\t", b'{"query": 1}']), max_size=12))
@settings(deadline=None)
def test_line_numbers_are_those_of_an_editor_and_blank_lines_are_left_out(contents: list[bytes]) -> None:
    found = list(numbered(content + b"\r\n" for content in contents))
    assert [(line.number, line.data) for line in found] == [
        (number, content) for number, content in enumerate(contents, start=1) if content.strip()
    ]
