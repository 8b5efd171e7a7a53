from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.deduplicate import fold_of
from acgs.governance.scenarios.generator import Scenario, generate
from acgs.policy.engine import RuleInput
from acgs.policy.judge import open_engine


@pytest.fixture(scope="module")
def scenarios(constitution: LockedConstitution) -> list[Scenario]:
    return list(generate(constitution.document, 3000, seed=5))


def test_the_same_seed_gives_the_same_scenarios(constitution: LockedConstitution, scenarios: list[Scenario]) -> None:
    assert list(generate(constitution.document, 3000, seed=5)) == scenarios
    assert list(generate(constitution.document, 100, seed=5)) == scenarios[:100]


def test_another_seed_gives_others(constitution: LockedConstitution, scenarios: list[Scenario]) -> None:
    other = {scenario.query for scenario in generate(constitution.document, 3000, seed=6)}
    same_place = sum(
        a.query == b.query for a, b in zip(scenarios, generate(constitution.document, 3000, 6), strict=True)
    )
    assert same_place < 100
    assert len(other) > 1000


def test_labels_of_contexts_are_those_that_rego_gives(
    constitution: LockedConstitution, scenarios: list[Scenario]
) -> None:
    engine = open_engine("rego", constitution)
    for scenario in scenarios:
        found = engine.evaluate(RuleInput(("common", scenario.domain), context=scenario.context))
        assert sorted(scenario.rules) == [violation.rule for violation in found], scenario.id
        assert {violation.principle for violation in found} <= set(scenario.breaches), scenario.id


def test_the_verdict_follows_from_the_breached_principles(
    constitution: LockedConstitution, scenarios: list[Scenario]
) -> None:
    known = set(constitution.document.principle_ids)
    for scenario in scenarios:
        assert scenario.verdict == ("violate" if scenario.breaches else "comply")
        assert set(scenario.breaches) <= known


def test_both_verdicts_every_domain_and_every_usable_rule_occur(
    constitution: LockedConstitution, scenarios: list[Scenario]
) -> None:
    verdicts = Counter(scenario.verdict for scenario in scenarios)
    assert min(verdicts.values()) / len(scenarios) > 0.3
    assert {scenario.domain for scenario in scenarios} == set(constitution.document.domains)
    rules = {rule for scenario in scenarios for rule in scenario.rules}
    reading_context = {
        rule.id
        for rule in constitution.document.rules
        if rule.scope not in constitution.document.actions and all(c.field.startswith("context.") for c in rule.when)
    }
    assert rules == reading_context


def test_one_text_never_lies_on_both_sides_of_a_split_by_group(constitution: LockedConstitution) -> None:
    """The group names the act; texts and contexts that are the same must not be told apart by it."""
    sides: dict[str, set[int]] = {}
    for scenario in generate(constitution.document, 5000, seed=9):
        sides.setdefault(scenario.group, set()).add(fold_of(scenario.group, 5))
    assert all(len(folds) == 1 for folds in sides.values())
    assert {fold for folds in sides.values() for fold in folds} == set(range(5))


def test_of_20_000_at_least_10_000_are_distinct(constitution: LockedConstitution) -> None:
    distinct = {
        (scenario.domain, scenario.query.casefold(), str(sorted(scenario.context.items())))
        for scenario in generate(constitution.document, 20_000, seed=1)
    }
    assert len(distinct) >= 10_000


def test_10_000_scenarios_fit_in_50_megabytes(constitution: LockedConstitution) -> None:
    list(generate(constitution.document, 10, seed=1))
    tracemalloc.start()
    try:
        kept = list(generate(constitution.document, 10_000, seed=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 10_000
    assert peak < 50_000_000


def test_a_negative_count_is_refused(constitution: LockedConstitution) -> None:
    assert list(generate(constitution.document, 0, seed=1)) == []
    with pytest.raises(InvalidInputError, match="negative"):
        list(generate(constitution.document, -1, seed=1))
