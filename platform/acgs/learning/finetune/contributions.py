"""What each user gives to a run with user-level privacy: at most so many of his records, by a rule that all can check.

A user's records are taken in the order of SHA-256("seed|record id"), once for the whole run. The choice looks at
nobody else's records, so that a user who is added or removed changes nothing about the others.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from acgs.errors import InvalidInputError
from acgs.learning.finetune.config import PrivacySettings
from acgs.learning.finetune.examples import Example


def contributions(examples: Iterable[Example], *, cap: int, seed: int) -> list[list[Example]]:
    """The rows of each user, users in the order of their first row.

    Args:
        examples: rows with `record` and `user`; a long record may have made several, which stay together.
        cap: records used of one user at most.
        seed: the run's, a public constant.

    Raises:
        InvalidInputError: a row names no user.
    """
    users: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        if example.user is None or example.record is None:
            raise InvalidInputError(
                "the privacy unit is the user, but a record names none; import the data with --user-column, or choose "
                "another unit",
                field="privacy.unit",
            )
        users[example.user][example.record].append(example)
    return [
        [row for record in sorted(records, key=lambda name: _place(name, seed))[:cap] for row in records[record]]
        for records in users.values()
    ]


def population(examples: Sequence[Example], privacy: PrivacySettings, seed: int) -> int:
    """How many units a plan on these rows counts.

    Raises:
        InvalidInputError: the unit is the user, and a row names none.
    """
    if privacy.contribution_cap is None:
        return len(examples)
    return len(contributions(examples, cap=privacy.contribution_cap, seed=seed))


def planned_population(examples: Sequence[Example], records: int, privacy: PrivacySettings, seed: int) -> int:
    """The population of a plan on the rows of so many records.

    Raises:
        InvalidInputError: a record would be several units, or what `population` refuses.
    """
    if privacy.unit == "record" and len(examples) != records:
        raise InvalidInputError(
            "a record makes several rows at this max_length; use the unit 'sequence' or a larger max_length",
            field="privacy.unit",
        )
    return population(examples, privacy, seed)


def _place(record: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}|{record}".encode()).digest()
