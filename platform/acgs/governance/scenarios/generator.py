"""Labelled scenarios from the constitution: a text, a context, and an oracle verdict for every principle.

The text's label comes from the lexicon act it was built from, the context's from evaluating the rules on it.
The same seed gives the same scenarios.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from acgs.constitution.document import Constitution, Rule
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.facts import breaching_context, near_miss_context, usable_rules
from acgs.governance.scenarios.language import lexicon, phrase
from acgs.policy.clauses import breached

_FACTS_SHARE = 0.5
_BREACHING_FACTS_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Scenario:
    """One labelled case. `breaches` names the principles broken by the text or by the context."""

    id: str
    domain: str
    query: str
    context: dict[str, Any]
    verdict: str
    breaches: tuple[str, ...]
    rules: tuple[str, ...]
    group: str

    def as_dict(self) -> dict[str, Any]:
        """JSON form, one line of a scenario file."""
        return asdict(self)


def generate(constitution: Constitution, count: int, seed: int) -> Iterator[Scenario]:
    """Yield `count` scenarios.

    Raises:
        InvalidInputError: `count` is negative.
    """
    if count < 0:
        raise InvalidInputError("count must not be negative", field="count")
    rng = random.Random(seed)  # noqa: S311 - reproducible scenarios, not secrets
    words = lexicon()
    domains = list(constitution.domains)
    usable = {domain: usable_rules(constitution, domain) for domain in domains}
    for number in range(count):
        domain = rng.choice(domains)
        said = phrase(rng, words)
        context, group = _facts(usable[domain], rng)
        broken = breached(usable[domain], {"context": context}) if context else []
        deciding = [rule for rule in broken if rule.severity != "minor"]
        breaches = dict.fromkeys((*said.breaches, *(rule.principle for rule in deciding)))
        yield Scenario(
            id=f"scn-{seed}-{number}",
            domain=domain,
            query=said.text,
            context=context,
            verdict="violate" if breaches else "comply",
            breaches=tuple(breaches),
            rules=tuple(rule.id for rule in broken),
            group=said.group + group,
        )


def _facts(rules: list[Rule], rng: random.Random) -> tuple[dict[str, Any], str]:
    """A context, empty half of the time, and the suffix that marks its group."""
    if not rules or rng.random() >= _FACTS_SHARE:
        return {}, ""
    rule = rng.choice(rules)
    if rng.random() < _BREACHING_FACTS_SHARE:
        return breaching_context(rule, rng), f"+{rule.id}"
    return near_miss_context(rule, rng), f"+{rule.id}"
