from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.constitution.diff import Change, ChangeKind, compare
from acgs.constitution.document import Constitution
from acgs.constitution.lock import LockedConstitution

Edited = Callable[[Callable[[dict[str, Any]], Any]], Constitution]


def test_a_document_does_not_differ_from_itself(constitution: LockedConstitution) -> None:
    difference = compare(constitution.document, constitution.document)
    assert difference.changes == ()
    assert not difference.behaviour_changes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda raw: raw["thresholds"].update(out_of_bag_error=0.2),
            Change("thresholds.out_of_bag_error", ChangeKind.CHANGED, 0.35, 0.2),
        ),
        (
            lambda raw: raw["rules"][4].update(message="Another message"),
            Change(
                "rules.CON-05.message",
                ChangeKind.CHANGED,
                "A protected characteristic may not decide an outcome",
                "Another message",
            ),
        ),
        (
            lambda raw: raw["rules"][0]["when"][0].update(value=True),
            Change("rules.CON-01.when.0.value", ChangeKind.CHANGED, False, True),
        ),
        (
            lambda raw: raw["domains"]["legal"].update(cache_ttl=901),
            Change("domains.legal.cache_ttl", ChangeKind.CHANGED, 900, 901),
        ),
        (
            lambda raw: raw["actions"].pop("evolve_agent") and raw.update(rules=_without(raw, "evolve_agent")),
            None,
        ),
    ],
)
def test_a_changed_field_is_named_with_both_values(
    constitution: LockedConstitution, edited: Edited, change: Callable[[dict[str, Any]], Any], expected: Change | None
) -> None:
    difference = compare(constitution.document, edited(change))
    assert difference.behaviour_changes
    if expected is not None:
        assert difference.changes == (expected,)
    else:
        removed = [item.path for item in difference.changes if item.kind is ChangeKind.REMOVED]
        assert removed == ["actions.evolve_agent", *(f"rules.ACT-0{number}" for number in range(1, 7))]


def _without(raw: dict[str, Any], scope: str) -> list[Any]:
    return [rule for rule in raw["rules"] if rule["scope"] != scope]


def test_a_rule_put_in_front_is_one_addition(constitution: LockedConstitution, edited: Edited) -> None:
    new = {
        "id": "CON-99",
        "scope": "common",
        "principle": "due_process",
        "severity": "major",
        "message": "A rule that is new",
        "when": [{"field": "context.new_field", "op": "eq", "value": True}],
    }
    [change] = compare(constitution.document, edited(lambda raw: raw["rules"].insert(0, new))).changes
    assert (change.path, change.kind, change.after["id"]) == ("rules.CON-99", ChangeKind.ADDED, "CON-99")


def test_principles_in_another_order_are_a_change(constitution: LockedConstitution, edited: Edited) -> None:
    difference = compare(constitution.document, edited(lambda raw: raw["principles"].reverse()))
    [change] = difference.changes
    assert (change.path, change.kind) == ("principles", ChangeKind.REORDERED)
    assert difference.behaviour_changes


def test_the_two_directions_mirror_each_other(constitution: LockedConstitution, edited: Edited) -> None:
    other = edited(lambda raw: raw["rules"].pop() and raw["thresholds"].update(compliance=0.5))
    there, back = compare(constitution.document, other), compare(other, constitution.document)
    assert (there.digest_before, there.digest_after) == (back.digest_after, back.digest_before)
    assert {(c.path, str(c.before), str(c.after)) for c in there.changes} == {
        (c.path, str(c.after), str(c.before)) for c in back.changes
    }
