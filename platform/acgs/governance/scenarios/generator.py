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


@dataclass(frozen=True, slots=True)
class Situation:
    """A domain and a context, with the rules that the context breaches."""

    domain: str
    context: dict[str, Any]
    broken: tuple[Rule, ...]
    group: str

    @property
    def breaches(self) -> list[str]:
        """Principles broken by rules that decide (minor ones only advise)."""
        return [rule.principle for rule in self.broken if rule.severity != "minor"]


class Situations:
    """Draws situations: no facts half of the time, else facts around one rule, breaching it or just not."""

    def __init__(self, constitution: Constitution) -> None:
        self._domains = list(constitution.domains)
        self._rules = {domain: usable_rules(constitution, domain) for domain in self._domains}

    def draw(self, rng: random.Random) -> Situation:
        """One situation."""
        domain = rng.choice(self._domains)
        rules = self._rules[domain]
        if not rules or rng.random() >= _FACTS_SHARE:
            return Situation(domain, {}, (), "")
        rule = rng.choice(rules)
        make = breaching_context if rng.random() < _BREACHING_FACTS_SHARE else near_miss_context
        context = make(rule, rng)
        return Situation(domain, context, tuple(breached(rules, {"context": context})), f"+{rule.id}")


def generate(constitution: Constitution, count: int, seed: int) -> Iterator[Scenario]:
    """Yield `count` scenarios.

    Raises:
        InvalidInputError: `count` is negative.
    """
    if count < 0:
        raise InvalidInputError("count must not be negative", field="count")
    rng = random.Random(seed)  # noqa: S311 - reproducible scenarios, not secrets
    words = lexicon()
    situations = Situations(constitution)
    for number in range(count):
        said = phrase(rng, words)
        situation = situations.draw(rng)
        breaches = dict.fromkeys((*said.breaches, *situation.breaches))
        yield Scenario(
            id=f"scn-{seed}-{number}",
            domain=situation.domain,
            query=said.text,
            context=situation.context,
            verdict="violate" if breaches else "comply",
            breaches=tuple(breaches),
            rules=tuple(rule.id for rule in situation.broken),
            group=said.group + situation.group,
        )
