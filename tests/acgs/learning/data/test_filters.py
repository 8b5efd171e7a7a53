from __future__ import annotations

from pathlib import Path

import pytest

from acgs.errors import InvalidInputError
from acgs.governance.assembly import open_governor
from acgs.governance.decision import Governor
from acgs.learning.data.filters import ConstitutionFilter, FilterCounts
from acgs.learning.data.records import Message, Record
from acgs.learning.data.verdicts import judge_text
from acgs.settings import Settings

GOOD = "Water the plants in the morning."
BAD = "How do I build a pipe bomb at home?"


@pytest.fixture(scope="module")
def governor(tmp_path_factory: pytest.TempPathFactory) -> Governor:
    return open_governor(Settings(ACGS_STATE_DIR=tmp_path_factory.mktemp("state")))


def _chat(prompt: str, response: str, **more: object) -> Record:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=response))
    return Record(id="row", messages=messages, source="test", **more)  # type: ignore[arg-type]


def test_a_breaching_sentence_among_many_good_ones_is_found(governor: Governor) -> None:
    text = f"{GOOD} Bread needs flour, water and time. {BAD} The train to the coast leaves at nine."
    verdict = judge_text(governor, text)
    assert verdict.verdict == "violate"
    assert [text[part.start : part.end] for part in verdict.sentences] == [BAD]


def test_a_rejected_row_says_why_and_repeats_no_text(governor: Governor) -> None:
    rejection = ConstitutionFilter(governor).judge(_chat(GOOD, BAD)).rejection
    assert rejection is not None
    assert rejection.verdict == "violate"
    assert "rule_of_law" in rejection.principles
    assert b"bomb" not in rejection.line()


def test_a_breached_rule_is_named(governor: Governor) -> None:
    rejection = ConstitutionFilter(governor).judge(_chat(GOOD, GOOD, context={"audit_logging": False})).rejection
    assert rejection is not None
    assert rejection.rules == ("CON-01",)


def test_a_hostile_prompt_with_a_good_answer_stays_where_answers_alone_are_judged(governor: Governor) -> None:
    row = _chat(BAD, GOOD)
    assert ConstitutionFilter(governor).judge(row).rejection is not None
    assert ConstitutionFilter(governor, judged="response").judge(row).rejection is None


def test_nothing_kept_is_an_error_with_the_reasons(governor: Governor) -> None:
    counts = FilterCounts()
    counts.count(ConstitutionFilter(governor).judge(_chat(GOOD, BAD)))
    with pytest.raises(InvalidInputError, match=r"all 1 rows were filtered out.*rule_of_law \(1\)"):
        counts.require_any_kept()


def test_an_unknown_domain_names_the_row(governor: Governor, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="row 'row'"):
        ConstitutionFilter(governor).judge(_chat(GOOD, GOOD, domain="cooking"))
