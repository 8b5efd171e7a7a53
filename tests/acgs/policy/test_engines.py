"""Every rule engine gives the same answer to the same document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.constitution.canonical import digest
from acgs.constitution.document import Clause, Constitution
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.probes import failing_value, holding_value, place, probes
from acgs.constitution.source import load_locked
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.engine import RuleEngine, RuleInput
from acgs.policy.judge import ENGINES, RuleJudge, open_engine

Edited = Callable[[Callable[[dict[str, Any]], Any]], LockedConstitution]

SHIPPED = load_locked()
SHIPPED_ENGINES = {name: open_engine(name, SHIPPED) for name in ENGINES}
SCOPES = [*SHIPPED.document.domains, *SHIPPED.document.actions]
BY_FIELD: dict[str, list[Clause]] = {}
for _rule in SHIPPED.document.rules:
    for _clause in _rule.when:
        BY_FIELD.setdefault(_clause.field, []).append(_clause)


def _rules(engine: RuleEngine, request: RuleInput) -> list[str]:
    return [violation.rule for violation in engine.evaluate(request)]


def _agreed(engines: dict[str, RuleEngine], request: RuleInput) -> list[str]:
    answers = {name: _rules(engine, request) for name, engine in engines.items()}
    assert answers["rego"] == answers["cedar"] == answers["clauses"]
    return answers["rego"]


def _values(clauses: list[Clause]) -> st.SearchStrategy[Any]:
    """Values of the field's type, most of them at a boundary; None stands for absent, NULL for a null."""
    literals = [value for clause in clauses for value in _literals(clause)]
    near = [holding_value(clause) for clause in clauses] + [failing_value(clause, literals[0]) for clause in clauses]
    sample = literals[0]
    if isinstance(sample, bool):
        free: st.SearchStrategy[Any] = st.booleans()
    elif isinstance(sample, str):
        free = st.text(max_size=12).filter(_is_unicode)
    else:
        free = st.integers(-(2**40), 2**40) | st.integers(-(10**6), 10**6).map(lambda number: number / 10_000)
    return st.sampled_from([*near, *literals, None, NULL]) | free


def _literals(clause: Clause) -> list[Any]:
    if clause.value is None:
        return []
    return clause.value if isinstance(clause.value, list) else [clause.value]


def _is_unicode(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


NULL = object()
TYPED = {field: clauses for field, clauses in BY_FIELD.items() if any(_literals(clause) for clause in clauses)}


@st.composite
def requests(draw: st.DrawFn) -> RuleInput:
    """A request whose facts touch a few of its scope's rules, with fields that no rule reads among them."""
    scope = draw(st.sampled_from(SCOPES))
    read = {c.field for rule in SHIPPED.document.rules_in("common", scope) for c in rule.when if c.field in TYPED}
    fields = draw(st.lists(st.sampled_from(sorted(read)), max_size=6, unique=True))
    document: dict[str, Any] = {"context": {}, "input_data": {}, "facts": {}}
    for field in fields:
        value = draw(_values(TYPED[field]))
        if value is NULL:
            parent, leaf = field.split(".")
            document[parent][leaf] = None
        else:
            place(document, field, value)
    noise = draw(st.dictionaries(st.sampled_from(["note", "nested", "x"]), NOISE, max_size=2))
    document["context"] |= noise
    return RuleInput(("common", scope), **document)


NOISE = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5).filter(_is_unicode),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(request=requests())
@settings(max_examples=400, deadline=None)
def test_rego_cedar_and_clauses_agree_on_any_document(request: RuleInput) -> None:
    _agreed(SHIPPED_ENGINES, request)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_null_is_an_absent_field_to_every_engine(scope: str) -> None:
    nothing = _agreed(SHIPPED_ENGINES, RuleInput(("common", scope)))
    for field in TYPED:
        parent, leaf = field.split(".")
        null = RuleInput(("common", scope), **{parent: {leaf: None}})
        assert _agreed(SHIPPED_ENGINES, null) == nothing, field


@pytest.mark.parametrize("name", ["rego", "cedar"])
def test_each_boundary_case_of_each_rule_gets_the_oracles_answer(name: str) -> None:
    for probe in probes(SHIPPED.document):
        request = RuleInput(probe.scopes, **probe.document)
        answer = _rules(SHIPPED_ENGINES[name], request)
        assert answer == _rules(SHIPPED_ENGINES["clauses"], request), probe
        assert (probe.rule in answer) is (probe.clause is None), probe


def _generated_rules() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rules over a few nested fields, with every operator."""
    names = {"flag": st.booleans(), "word": st.sampled_from(["a", "b", "é ß", "''"]), "n": st.sampled_from([0, 1, 2.5])}

    @st.composite
    def clause(draw: st.DrawFn) -> dict[str, Any]:
        name = draw(st.sampled_from(sorted(names)))
        path = f"{draw(st.sampled_from(['context', 'context.deep', 'context.deep.er', 'facts']))}.{name}"
        operators = ["eq", "ne", "in", "missing"] + (["lt", "le", "gt", "ge"] if name == "n" else [])
        op = draw(st.sampled_from(operators))
        value: Any = draw(names[name])
        if op == "in":
            value = draw(st.lists(names[name], min_size=1, max_size=2))
        return {"field": path, "op": op, "value": None if op == "missing" else value}

    return st.lists(st.lists(clause(), min_size=1, max_size=3), min_size=1, max_size=3).map(
        lambda rules: [
            {
                "id": f"GEN-{number:02}",
                "scope": "general",
                "principle": "due_process",
                "severity": "major",
                "message": "a generated rule",
                "when": when,
            }
            for number, when in enumerate(rules)
        ]
    )


LEAF = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.none() | st.booleans(),
        "word": st.none() | st.sampled_from(["a", "b", "é ß", "''", 'q"\\', "\n", ""]),
        "n": st.none() | st.sampled_from([-1, 0, 0.0, 1, 1.0, 2.5, 2.4999, 2.5001]),
    },
)
ER = st.one_of(st.none(), st.just("no mapping"), LEAF)
DEEP = st.one_of(
    st.none(), st.just(7), st.tuples(LEAF, ER).map(lambda pair: {**pair[0], "er": pair[1]}), st.just([{"flag": True}])
)


@given(rules=_generated_rules(), top=LEAF, deep=DEEP, facts=LEAF)
@settings(max_examples=150, deadline=None)
def test_the_engines_agree_on_any_rules_over_nested_absent_and_null_fields(
    rules: list[dict[str, Any]], top: dict[str, Any], deep: Any, facts: dict[str, Any]
) -> None:
    raw = SHIPPED.document.model_dump(mode="json") | {"rules": rules}
    document = Constitution.model_validate(raw)
    locked = LockedConstitution(document, digest(document), "")
    engines = {name: open_engine(name, locked) for name in ENGINES}
    _agreed(engines, RuleInput(("common", "general"), context={**top, "deep": deep}, facts=facts))
    _agreed(engines, RuleInput(("common", "general"), context=top, facts=facts))


def test_judging_does_not_change_the_request(judge: RuleJudge) -> None:
    context = {"encrypted": False, "phi": True, "purpose": None, "nested": {"a": [1.5]}}
    judge.rule(RuleInput(("common", "healthcare"), context=context, facts={"phi_detected": True}))
    assert context == {"encrypted": False, "phi": True, "purpose": None, "nested": {"a": [1.5]}}


def test_a_violation_tells_what_held_without_the_inputs_value(judge: RuleJudge) -> None:
    [violation] = judge.rule(RuleInput(("common",), context={"evidence_count": -77, "sanction_proposed": True,
                                                             "appeal_available": True})).violations  # fmt: skip
    assert (violation.rule, violation.principle, violation.severity) == ("CON-04", "due_process", "critical")
    assert violation.as_dict()["clauses"] == [
        {"field": "context.sanction_proposed", "op": "eq", "value": True},
        {"field": "context.evidence_count", "op": "lt", "value": 1},
    ]
    assert "77" not in str(violation)


@pytest.mark.parametrize("scope", ["nowhere", ""])
def test_rego_and_cedar_do_not_answer_for_a_scope_they_do_not_know(scope: str) -> None:
    for name in ("rego", "cedar"):
        with pytest.raises(UnavailableError, match="no rules are compiled"):
            SHIPPED_ENGINES[name].evaluate(RuleInput(("common", scope)))


MODULE = """package acgs.rules.finance
import rego.v1
violations contains violation if {
    count(input.context.approvers) < 2
    violation := {"rule": "REG-01", "principle": "financial_integrity", "severity": "critical",
                  "message": "Two people must approve",
                  "clauses": [{"field": "context.approvers", "op": "lt", "value": 2}]}
}
violations contains "AML-03" if input.context.embargoed == true
"""


@pytest.fixture(scope="session")
def with_module(edited: Edited) -> LockedConstitution:
    return edited(lambda raw: raw.update(rego=[{"name": "dual_control", "scope": "finance", "source": MODULE}]))


def test_hand_written_rego_joins_the_rules_of_its_scope(with_module: LockedConstitution) -> None:
    engine = open_engine("rego", with_module)
    both = RuleInput(("common", "finance"), context={"approvers": ["one"], "payment": True, "authorized": False})
    found = engine.evaluate(both)
    assert [violation.rule for violation in found] == ["FIN-01", "REG-01"]
    assert found[1].message == "Two people must approve"
    assert found[1].clauses[0].field == "context.approvers"
    assert _rules(engine, RuleInput(("common", "finance"), context={"approvers": ["one", "two"]})) == []
    assert _rules(engine, RuleInput(("common", "finance"), context={"embargoed": True})) == ["AML-03"]
    assert _rules(engine, RuleInput(("common", "legal"), context={"approvers": []})) == []


def test_engines_that_cannot_run_hand_written_rego_say_so(with_module: LockedConstitution) -> None:
    with pytest.raises(InvalidInputError, match="Rego"):
        open_engine("cedar", with_module)
    clauses = open_engine("clauses", with_module)
    with pytest.raises(UnavailableError, match="finance"):
        clauses.evaluate(RuleInput(("common", "finance")))
    assert _rules(clauses, RuleInput(("common", "general"), context={"audit_logging": False})) == ["CON-01"]


@pytest.mark.parametrize(
    "source",
    ["package acgs.rules.finance\nviolations contains {", "violations := ", "package acgs.rules.finance\nx := y z"],
)
def test_rego_that_does_not_compile_is_refused_at_the_start(edited: Edited, source: str) -> None:
    broken = edited(lambda raw: raw.update(rego=[{"name": "broken", "scope": "finance", "source": source}]))
    with pytest.raises(InvalidInputError, match="does not compile"):
        open_engine("rego", broken)


@pytest.mark.parametrize(
    "body",
    [
        "violations contains 7 if true",
        'violations contains "NO-SUCH" if true',
        'violations contains {"rule": "R-01"} if true',
        'violations contains {"rule": "R-1", "principle": "due_process", "severity": "huge", "message": "m"} if true',
        'violations contains {"rule": "R-1", "principle": "nothing", "severity": "major", "message": "m"} if true',
    ],
)
def test_a_module_that_answers_nonsense_is_no_answer(edited: Edited, body: str) -> None:
    source = f"package acgs.rules.finance\nimport rego.v1\n{body}\n"
    locked = edited(lambda raw: raw.update(rego=[{"name": "odd", "scope": "finance", "source": source}]))
    with pytest.raises(UnavailableError):
        open_engine("rego", locked).evaluate(RuleInput(("common", "finance"), context={"payment": True}))


@pytest.mark.parametrize("text", ['say "yes"', "back\\slash", "two\nlines"])
def test_rego_refuses_a_text_that_it_would_never_find_equal(edited: Edited, text: str) -> None:
    """rego-cpp does not read escapes: the rule would compile and never be breached."""
    clause = {"field": "context.said", "op": "eq", "value": text}
    locked = edited(lambda raw: raw["rules"][0].update(when=[clause]))
    with pytest.raises(InvalidInputError, match="quotes"):
        open_engine("rego", locked)
    said = RuleInput(("common",), context={"said": text})
    assert _rules(open_engine("cedar", locked), said) == _rules(open_engine("clauses", locked), said) == ["CON-01"]


def test_a_message_of_several_lines_stays_a_comment(edited: Edited) -> None:
    locked = edited(lambda raw: raw["rules"][0].update(message='first line\nviolations contains "CON-02" if true'))
    assert _rules(open_engine("rego", locked), RuleInput(("common",), context={"audit_logging": True})) == []


def test_cedar_refuses_a_threshold_it_cannot_hold_instead_of_rounding_it(edited: Edited) -> None:
    fine = edited(lambda raw: raw["rules"][-1].update(
        when=[{"field": "input_data.risk_score", "op": "ge", "value": 0.00001}]))  # fmt: skip
    with pytest.raises(InvalidInputError):
        open_engine("cedar", fine)


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="rego, cedar, clauses"):
        open_engine("prolog", SHIPPED)
