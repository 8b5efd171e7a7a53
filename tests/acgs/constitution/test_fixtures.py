from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from acgs.constitution.fixtures import RulesExpectation, TextExpectation, read_fixtures, run_fixtures, uncovered_rules
from acgs.constitution.judging import Judge
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import FIXTURES_NAME, shipped_directory
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.engine import RuleInput
from acgs.policy.judge import open_engine


def judge_of(name: str, constitution: LockedConstitution) -> Judge:
    engine = open_engine(name, constitution)
    return lambda scopes, document: {
        item.rule: item.severity for item in engine.evaluate(RuleInput(scopes, **document))
    }


def write(folder: Path, text: str) -> Path:
    (folder / FIXTURES_NAME).write_text(text)
    return folder


@pytest.mark.parametrize("engine", ["rego", "cedar", "clauses"])
def test_the_rules_give_the_verdicts_that_a_person_worked_out(constitution: LockedConstitution, engine: str) -> None:
    fixtures = read_fixtures(shipped_directory(), constitution.document)
    outcomes = list(run_fixtures(fixtures, {engine: judge_of(engine, constitution)}, None))
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == sum(isinstance(fixture.expect, RulesExpectation) for fixture in fixtures) >= 40


def test_every_shipped_rule_has_a_case_that_breaches_it(constitution: LockedConstitution) -> None:
    assert uncovered_rules(read_fixtures(shipped_directory(), constitution.document), constitution.document) == []


def test_names_of_shipped_cases_are_unique(constitution: LockedConstitution) -> None:
    names = [fixture.name for fixture in read_fixtures(shipped_directory(), constitution.document)]
    assert len(set(names)) == len(names)


def test_a_wrong_verdict_is_reported_with_both_sides(constitution: LockedConstitution, folder: Path) -> None:
    write(folder, "- {name: wrong on purpose, domain: general, context: {audit_logging: false}, expect: {allow: true}}")
    fixtures = read_fixtures(folder, constitution.document)
    [outcome] = run_fixtures(fixtures, {"clauses": judge_of("clauses", constitution)}, None)
    assert (outcome.passed, outcome.expected, outcome.actual) == (False, "allow []", "deny ['CON-01']")


def test_an_engine_that_gives_no_answer_fails_the_case(constitution: LockedConstitution) -> None:
    def broken(_scopes: tuple[str, ...], _document: Mapping[str, Any]) -> dict[str, str]:
        raise UnavailableError("down")

    fixtures = read_fixtures(shipped_directory(), constitution.document)[:3]
    assert [outcome.passed for outcome in run_fixtures(fixtures, {"x": broken}, None)] == [False] * 3


def test_a_minor_breach_advises_and_does_not_deny(constitution: LockedConstitution, folder: Path) -> None:
    write(folder, "- {name: minor, domain: general, expect: {allow: true, rules: [CON-01]}}")
    [outcome] = run_fixtures(
        read_fixtures(folder, constitution.document), {"x": lambda _s, _d: {"CON-01": "minor"}}, None
    )
    assert outcome.passed


@pytest.mark.parametrize(
    ("expected", "met", "missed"),
    [
        ("comply", {"comply"}, {"violate", "uncertain"}),
        ("violate", {"violate"}, {"comply", "uncertain"}),
        ("not_comply", {"violate", "uncertain"}, {"comply"}),
        ("not_violate", {"comply", "uncertain"}, {"violate"}),
    ],
)
def test_a_text_may_be_expected_not_to_get_a_verdict(expected: Any, met: set[str], missed: set[str]) -> None:
    expectation = TextExpectation(decision=expected)
    assert all(expectation.met_by(word) for word in met)
    assert not any(expectation.met_by(word) for word in missed)


def test_texts_go_to_the_guard_and_only_to_it(constitution: LockedConstitution) -> None:
    fixtures = read_fixtures(shipped_directory(), constitution.document)
    texts = [fixture for fixture in fixtures if fixture.query is not None]
    asked: list[tuple[str, str]] = []

    def decide(text: str, domain: str, _context: Mapping[str, Any]) -> str:
        asked.append((text, domain))
        return "comply"

    outcomes = list(run_fixtures(fixtures, {}, decide))
    assert asked == [(fixture.query, fixture.domain) for fixture in texts]
    passed = {outcome.fixture for outcome in outcomes if outcome.passed}
    assert passed == {f.name for f in texts if isinstance(f.expect, TextExpectation) and f.expect.met_by("comply")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list"),
        ("[]", "no cases"),
        ("- {name: case, expect: {allow: true}}", "either a domain or an action"),
        ("- {name: case, domain: general, action: evolve_agent, expect: {allow: true}}", "either a domain"),
        ("- {name: case, domain: nowhere, expect: {allow: true}}", "nowhere"),
        ("- {name: case, action: fly, expect: {allow: true}}", "fly"),
        ("- {name: case, domain: general, expect: {allow: false, rules: [CON-00]}}", "CON-00"),
        ("- {name: case, domain: general, query: hello, expect: {allow: true}}", "expects a decision"),
        ("- {name: case, domain: general, expect: {decision: comply}}", "expects a decision"),
        ("- {name: case, action: evolve_agent, query: hello, expect: {decision: comply}}", "domain and a context"),
        ("- {name: case, domain: general, expect: {allow: true}, extra: 1}", "extra"),
        ("- {name: case, domain: general, query: hi, expect: {decision: perhaps}}", "expect"),
        ("- [", "not YAML"),
    ],
)
def test_a_case_that_does_not_fit_is_refused(
    constitution: LockedConstitution, folder: Path, text: str, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_fixtures(write(folder, text), constitution.document)


def test_a_folder_without_fixtures_is_refused(constitution: LockedConstitution, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"fixtures\.yaml"):
        read_fixtures(tmp_path, constitution.document)
