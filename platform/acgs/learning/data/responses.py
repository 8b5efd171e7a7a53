"""Responses mixed from generated scenarios: compliant sentences of one subject, in some of them one that breaches.

Every sentence carries the label it was generated with, so that a revision can be measured against labels that no model
made. Contexts are left out: no rewording repairs a fact.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from acgs.errors import InvalidInputError
from acgs.governance.scenarios.generator import Scenario
from acgs.learning.data.records import Message, Record

CONTROL_SHARE: Final = 0.25
"""Share of responses that breach nothing, to see what is done to good ones."""
_FEWEST, _MOST = 2, 4
"""Compliant sentences of one response."""
_BREACHES: Final = (1, 1, 1, 2)
"""Breaching sentences of one response, drawn from these."""


def responses_of(scenarios: Sequence[Scenario], seed: int) -> Iterator[Record]:
    """One record for each scenario whose text breaches, and controls; the same seed gives the same records.

    The group is the family of acts, so that a split never has one act on both sides.

    Raises:
        InvalidInputError: there are no scenarios of both verdicts to mix.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    said = [scenario for scenario in scenarios if not scenario.context]
    comply: dict[str, list[str]] = defaultdict(list)
    breach: dict[str, list[Scenario]] = defaultdict(list)
    for scenario in said:
        if scenario.breaches:
            breach[_family(scenario)].append(scenario)
        else:
            comply[_family(scenario)].append(_sentence(scenario.query))
    families = [name for name in breach if len(comply[name]) >= _MOST]
    if not families:
        raise InvalidInputError(
            "mixing needs scenarios of both verdicts on one subject; generate some thousands", field="input"
        )
    for family in families:
        for number, _ in enumerate(breach[family]):
            good = rng.sample(comply[family], rng.randint(_FEWEST, _MOST))
            control = rng.random() < CONTROL_SHARE
            bad = [] if control else rng.choices(breach[family], k=rng.choice(_BREACHES))
            yield _mixed(family, number, good, bad, rng)


def _family(scenario: Scenario) -> str:
    return scenario.group.partition("/")[0]


def _sentence(text: str) -> str:
    """A text as sentences that end in a mark."""
    text = text.strip()
    return text if text[-1] in ".!?" else f"{text}."


def _mixed(family: str, number: int, good: list[str], bad: list[Scenario], rng: random.Random) -> Record:
    parts: list[tuple[str, tuple[str, ...]]] = [(text, ()) for text in good]
    parts += [(_sentence(scenario.query), scenario.breaches) for scenario in bad]
    rng.shuffle(parts)
    subject = family.replace("_", " ")
    return Record(
        id=f"mix-{family}-{number}",
        messages=(
            Message(role="user", content=f"Collect what our users asked this week about {subject}."),
            Message(role="assistant", content=" ".join(text for text, _ in parts)),
        ),
        group=family,
        principles=tuple(dict.fromkeys(name for _, breaches in parts for name in breaches)),
        source="scenarios",
        metadata={"breaching": [text for text, breaches in parts if breaches]},
    )
