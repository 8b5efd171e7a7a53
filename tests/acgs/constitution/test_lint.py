from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.constitution.document import Clause, Constitution
from acgs.constitution.lint import Level, contradiction, lint, lint_engines
from acgs.constitution.lock import LockedConstitution
from acgs.errors import UnavailableError
from acgs.policy.clauses import ClauseEngine
from acgs.policy.engine import RuleInput

Edited = Callable[[Callable[[dict[str, Any]], Any]], Constitution]


def _clauses(*parts: tuple[Any, ...]) -> list[Clause]:
    return [Clause(field="context.x", op=op, value=value) for op, value in parts]


def _duplicate(raw: dict[str, Any]) -> None:
    raw["rules"].append(raw["rules"][0] | {"id": "CON-98"})


def _narrower(raw: dict[str, Any]) -> None:
    clauses = [*raw["rules"][0]["when"], {"field": "context.more", "op": "eq", "value": True}]
    raw["rules"].append(raw["rules"][0] | {"id": "CON-98", "when": clauses})


def test_the_shipped_constitution_has_nothing_to_remark(constitution: LockedConstitution) -> None:
    assert lint(constitution.document) == []


@pytest.mark.parametrize(
    ("change", "level", "where", "said"),
    [
        (_duplicate, Level.ERROR, "rules.CON-98", "same clauses as CON-01"),
        (_narrower, Level.WARNING, "rules.CON-98", "breaches CON-01 too"),
        (
            lambda raw: raw["rules"][0]["when"].append(raw["rules"][0]["when"][0]),
            Level.ERROR,
            "rules.CON-01.when",
            "same clause twice",
        ),
        (
            lambda raw: raw["rules"][0]["when"].append({"field": "context.audit_logging", "op": "eq", "value": True}),
            Level.ERROR,
            "rules.CON-01",
            "never be breached",
        ),
        (
            lambda raw: raw["rules"][0]["when"][0].update(value="off"),
            None,
            "",
            "",
        ),
        (
            lambda raw: raw["rules"][1]["when"][0].update(field="context.audit_logging", value="on"),
            Level.ERROR,
            "rules.CON-02",
            "as boolean and as string",
        ),
        (
            lambda raw: raw["rules"][1]["when"][0].update(field="context.audit_logging.sub"),
            Level.ERROR,
            "rules.CON-02",
            "lies inside context.audit_logging",
        ),
        (lambda raw: raw["actions"].update(fly="Fly away"), Level.ERROR, "actions.fly", "always be allowed"),
        (
            lambda raw: raw["domains"].update(farming=raw["domains"]["general"]),
            Level.WARNING,
            "domains.farming",
            "no rule",
        ),
        (
            lambda raw: raw["principles"][0].update(weight=100.0),
            Level.WARNING,
            "principles.democratic_participation.weight",
            "median",
        ),
        (
            lambda raw: raw["principles"][0].update(revision_request=raw["principles"][0]["critique_request"]),
            Level.ERROR,
            "principles.democratic_participation",
            "same text",
        ),
        (
            lambda raw: raw["principles"][1].update(text=raw["principles"][0]["text"]),
            Level.WARNING,
            "principles.transparency_requirement.text",
            "shared by",
        ),
        (
            lambda raw: raw.update(rules=[rule for rule in raw["rules"] if rule["id"] != "KYC-01"]),
            Level.ERROR,
            "principles.kyc_compliance",
            "nothing can breach it",
        ),
    ],
)
def test_each_fault_is_found_and_named(
    edited: Edited, change: Callable[[dict[str, Any]], Any], level: Level | None, where: str, said: str
) -> None:
    findings = lint(edited(change))
    if level is None:
        assert findings == []
        return
    [finding] = findings
    assert (finding.level, finding.where) == (level, where)
    assert said in finding.message


@pytest.mark.parametrize(
    "clauses",
    [
        _clauses(("eq", 1), ("eq", 2)),
        _clauses(("eq", True), ("ne", True)),
        _clauses(("in", ["a", "b"]), ("eq", "c")),
        _clauses(("in", ["a", "b"]), ("ne", "a"), ("ne", "b")),
        _clauses(("lt", 1), ("gt", 1)),
        _clauses(("le", 1), ("gt", 1)),
        _clauses(("ge", 2), ("lt", 2)),
        _clauses(("ge", 2), ("le", 1.5)),
        _clauses(("eq", 5), ("gt", 5)),
        _clauses(("missing", None), ("eq", 5)),
        _clauses(("missing", None), ("lt", 5)),
    ],
)
def test_clauses_that_exclude_each_other_are_found(clauses: list[Clause]) -> None:
    assert contradiction(clauses) is not None


@pytest.mark.parametrize(
    "clauses",
    [
        _clauses(("eq", 1)),
        _clauses(("ge", 2), ("le", 2)),
        _clauses(("gt", 1), ("lt", 2)),
        _clauses(("in", ["a", "b"]), ("ne", "a")),
        _clauses(("missing", None), ("ne", 5)),
        _clauses(("ne", 1), ("ne", 2)),
        _clauses(("eq", 5), ("ge", 5), ("ne", 4)),
    ],
)
def test_clauses_that_can_hold_together_pass(clauses: list[Clause]) -> None:
    assert contradiction(clauses) is None


def test_an_engine_that_lets_a_breach_pass_is_found(constitution: LockedConstitution) -> None:
    engine = ClauseEngine(constitution)

    def oracle(scopes: tuple[str, ...], document: Any) -> dict[str, str]:
        return {item.rule: item.severity for item in engine.evaluate(RuleInput(scopes, **document))}

    def lenient(scopes: tuple[str, ...], document: Any) -> dict[str, str]:
        return {rule: severity for rule, severity in oracle(scopes, document).items() if rule != "AML-01"}

    assert lint_engines(constitution.document, {"clauses": oracle, "same": oracle}, "clauses") == []
    findings = lint_engines(constitution.document, {"clauses": oracle, "lenient": lenient}, "clauses")
    assert {finding.where for finding in findings} == {"rules.AML-01"}
    assert all(finding.level is Level.ERROR for finding in findings)


def test_an_engine_that_cannot_answer_is_a_warning_and_not_agreement(constitution: LockedConstitution) -> None:
    def broken(_scopes: tuple[str, ...], _document: Any) -> dict[str, str]:
        raise UnavailableError("no answer today")

    findings = lint_engines(constitution.document, {"broken": broken}, "clauses")
    assert [(item.level, item.where, item.message) for item in findings] == [
        (Level.WARNING, "engines.broken", "no answer today")
    ]
