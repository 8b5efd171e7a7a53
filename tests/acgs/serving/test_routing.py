"""Who is answered by which slot."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from acgs.errors import UnavailableError
from acgs.serving.routing import ModelRoute, RoutingTable, Slot, UnknownModelError, choose

keys = st.text(max_size=40)
percents = st.integers(0, 100)


def table(**route: object) -> RoutingTable:
    fields = {"blue": "1.0.0", "green": "2.0.0", **route}
    return RoutingTable(epoch=7, models={"triage": ModelRoute.model_validate(fields)})


@given(keys, percents)
def test_a_key_is_always_answered_by_the_same_slot(key: str, percent: int) -> None:
    first = choose(table(percent=percent), "triage", key)
    assert first == choose(table(percent=percent), "triage", key)
    assert first.version == {"blue": "1.0.0", "green": "2.0.0"}[first.slot]
    assert first.epoch == 7


@given(keys, percents, percents, st.sampled_from(Slot))
def test_a_higher_percentage_moves_keys_to_the_other_slot_only(key: str, one: int, two: int, live: Slot) -> None:
    low, high = sorted((one, two))
    if choose(table(percent=low, live=live), "triage", key).slot is live.other:
        assert choose(table(percent=high, live=live), "triage", key).slot is live.other


@given(keys)
def test_at_zero_nobody_crosses_and_at_a_hundred_everybody(key: str) -> None:
    assert choose(table(percent=0), "triage", key).slot is Slot.BLUE
    assert choose(table(percent=100), "triage", key).slot is Slot.GREEN


@settings(max_examples=25)
@given(percents, st.integers(0, 10**6))
def test_the_share_of_keys_is_the_percentage_within_chance(percent: int, seed: int) -> None:
    routed, n = table(percent=percent), 2000
    crossed = sum(choose(routed, "triage", f"{seed}-{number}").slot is Slot.GREEN for number in range(n))
    p = percent / 100
    # Six standard deviations: about one in 10^9 under the binomial law.
    assert abs(crossed - n * p) <= 6 * sqrt(n * p * (1 - p))


def test_not_the_same_keys_try_every_version_first() -> None:
    second = table(green="3.0.0", percent=10)
    tried = {number for number in range(2000) if choose(table(percent=10), "triage", str(number)).slot is Slot.GREEN}
    again = {number for number in range(2000) if choose(second, "triage", str(number)).slot is Slot.GREEN}
    assert len(tried & again) < len(tried) / 2


def test_a_shadow_gets_what_the_live_slot_answers_and_nothing_else() -> None:
    shadowed = table(shadow=True)
    assert choose(shadowed, "triage", "k").shadow == (Slot.GREEN, "2.0.0")
    assert choose(table(shadow=True, percent=100), "triage", "k").shadow is None
    assert choose(table(), "triage", "k").shadow is None


def test_the_other_slot_stands_in_only_with_the_very_same_version() -> None:
    assert choose(table(green="1.0.0"), "triage", "k").also_in is Slot.GREEN
    assert choose(table(), "triage", "k").also_in is None


def test_a_model_without_a_version_in_its_live_slot_is_not_answered_by_the_other() -> None:
    with pytest.raises(UnavailableError, match="no version of triage is deployed"):
        choose(table(blue=None), "triage", "k")
    with pytest.raises(UnknownModelError):
        choose(table(), "nobody", "k")


@pytest.mark.parametrize(
    "route",
    [
        {"blue": "1.0.0", "percent": 10},
        {"blue": "1.0.0", "shadow": True},
        {"blue": "1.0"},
        {"blue": "1.0.0", "green": "1.0.0", "percent": 101},
        {"blue": "1.0.0", "colour": "red"},
    ],
)
def test_a_route_that_could_not_be_followed_is_refused(route: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelRoute.model_validate(route)


@pytest.mark.parametrize("name", ["health", "metrics", "Triage", "../x", ""])
def test_names_that_are_routes_or_paths_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        RoutingTable(epoch=1, models={name: ModelRoute(blue="1.0.0")})
