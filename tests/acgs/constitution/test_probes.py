from __future__ import annotations

from acgs.constitution.lock import LockedConstitution
from acgs.constitution.probes import probes
from acgs.policy.clauses import breached


def test_every_rule_has_a_probe_that_breaches_it(constitution: LockedConstitution) -> None:
    rules = {rule.id: rule for rule in constitution.document.rules}
    whole = [probe for probe in probes(constitution.document) if probe.clause is None]
    assert [probe.rule for probe in whole] == list(rules)
    for probe in whole:
        assert breached([rules[probe.rule]], probe.document), probe


def test_a_probe_with_one_clause_made_false_does_not_breach_its_rule(constitution: LockedConstitution) -> None:
    rules = {rule.id: rule for rule in constitution.document.rules}
    near = [probe for probe in probes(constitution.document) if probe.clause is not None]
    assert len(near) == sum(len(rule.when) for rule in rules.values())
    for probe in near:
        assert not breached([rules[probe.rule]], probe.document), probe
