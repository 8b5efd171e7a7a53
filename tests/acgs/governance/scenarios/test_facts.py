from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.governance.scenarios.facts import breaching_context, near_miss_context, usable_rules
from acgs.policy.clauses import breached

SEEDS = range(40)


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{path}.{key}")
        else:
            yield f"{path}.{key}", item


@pytest.fixture(scope="module")
def rules(constitution: LockedConstitution) -> list[Any]:
    document = constitution.document
    found = {rule.id: rule for domain in document.domains for rule in usable_rules(document, domain)}
    return list(found.values())


def test_rules_that_read_the_text_are_left_to_the_domain_checks(constitution: LockedConstitution) -> None:
    healthcare = [rule.id for rule in usable_rules(constitution.document, "healthcare")]
    assert "HIP-01" in healthcare
    assert "CON-01" in healthcare
    assert "HIP-06" not in healthcare
    assert "AML-01" not in healthcare


def test_a_breaching_context_breaches_its_rule(rules: list[Any]) -> None:
    for rule in rules:
        for seed in SEEDS:
            assert breached([rule], {"context": breaching_context(rule, random.Random(seed))}), (rule.id, seed)


def test_a_near_miss_does_not_breach_its_rule(rules: list[Any]) -> None:
    for rule in rules:
        for seed in SEEDS:
            assert not breached([rule], {"context": near_miss_context(rule, random.Random(seed))}), (rule.id, seed)


def test_a_near_miss_differs_from_the_breach_in_exactly_one_field(rules: list[Any]) -> None:
    for rule in rules:
        for seed in SEEDS:
            breach = dict(_leaves(breaching_context(rule, random.Random(seed))))
            near = dict(_leaves(near_miss_context(rule, random.Random(seed))))
            differing = {field for field in breach.keys() | near.keys() if breach.get(field) != near.get(field)}
            assert len(differing) == 1, (rule.id, seed)


def test_every_clause_is_made_false_in_some_near_miss(rules: list[Any]) -> None:
    for rule in rules:
        touched = set()
        for seed in range(200):
            breach = dict(_leaves(breaching_context(rule, random.Random(seed))))
            near = dict(_leaves(near_miss_context(rule, random.Random(seed))))
            touched |= {field for field in breach.keys() | near.keys() if breach.get(field) != near.get(field)}
        assert touched == {"." + clause.field.removeprefix("context.") for clause in rule.when}, rule.id
