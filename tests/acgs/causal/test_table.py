from __future__ import annotations

import numpy as np
import pytest

from acgs.causal import Roles, tabulate
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError


def _columns() -> dict[str, np.ndarray]:
    return {
        "treatment": np.array([0, 1, 0, 1]),
        "outcome": np.array([1.0, 2.0, 3.0, 4.0]),
        "x_1": np.array([1, 2, 3, 4]),
        "x_2": np.array(["a", "b", "a", "b"]),
        "p": np.full(4, 0.5),
        "market": np.array([1, 1, 2, 2]),
    }


def test_a_pattern_names_many_covariates_once() -> None:
    table = tabulate(_columns(), Roles(covariates=("x_*", "x_1")))
    assert list(table.covariates) == ["x_1", "x_2"]


@pytest.mark.parametrize(
    ("change", "roles", "message", "field"),
    [
        ({"outcome": [1.0, np.nan, 3.0, 4.0]}, {}, "column outcome has gaps", "outcome"),
        ({"outcome": ["1", "2", "3", "x"]}, {}, "column outcome must hold numbers", "outcome"),
        ({"outcome": [1.0, 2.0]}, {}, "column outcome has another length", "outcome"),
        ({"x_2": ["a", "", "a", "b"]}, {"covariates": ("x_2",)}, "column x_2 has gaps", "x_2"),
        ({"p": [0.5, 0.0, 0.5, 0.5]}, {"propensity": "p"}, "column p must hold probabilities above 0", "p"),
        ({"p": [0.5, 1.5, 0.5, 0.5]}, {"propensity": "p"}, "column p must hold probabilities", "p"),
        ({}, {"covariates": ("y_*",)}, "there is no column y_*", "y_*"),
        ({}, {"propensity": "q"}, "there is no column q", "q"),
        ({}, {"covariates": ("outcome",)}, "column outcome cannot be adjusted for", "outcome"),
        ({}, {"target": "p"}, "needs the logged propensities", "propensity"),
        ({}, {"treated": "2"}, "no row of the treatment column", "treated"),
    ],
)
def test_a_column_that_its_part_cannot_use_is_named(
    change: dict[str, list[object]], roles: dict[str, object], message: str, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        tabulate({**_columns(), **change}, Roles.model_validate(roles))
    assert message in refused.value.message
    assert refused.value.field == field


def test_a_text_column_of_identifiers_is_nothing_to_adjust_for() -> None:
    columns = {
        "treatment": np.arange(300) % 2,
        "outcome": np.arange(300.0),
        "user": np.array([f"u{number}" for number in range(300)]),
    }
    with pytest.raises(InvalidInputError, match="more than 100 different texts"):
        tabulate(columns, Roles(covariates=("user",)))


def test_one_arm_is_nothing_to_compare_and_three_are_not_two() -> None:
    with pytest.raises(InsufficientDataError, match="same arm"):
        tabulate({**_columns(), "treatment": np.ones(4)}, Roles())
    three = tabulate({**_columns(), "treatment": np.array([0, 1, 2, 1])}, Roles())
    with pytest.raises(InvalidInputError, match="has 3 values"):
        _ = three.treated


def test_the_treated_are_the_later_label_or_the_one_that_is_named() -> None:
    table = tabulate({**_columns(), "treatment": np.array(["old", "new", "old", "new"])}, Roles())
    assert table.arms == ("new", "old")
    named = tabulate({**_columns(), "treatment": np.array(["old", "new", "old", "new"])}, Roles(treated="new"))
    assert named.arms == ("old", "new")
    assert named.treated.tolist() == [False, True, False, True]


def test_the_digest_follows_every_used_value_and_its_part_and_no_other() -> None:
    roles = Roles(covariates=("x_1",), propensity="p")
    first = tabulate(_columns(), roles).digest()
    assert first == tabulate({**_columns(), "x_2": np.array(["z"] * 4)}, roles).digest()
    others = [
        tabulate({**_columns(), "x_1": np.array([1, 2, 3, 5])}, roles),
        tabulate({**_columns(), "outcome": np.array([1.0, 2.0, 3.0, 4.5])}, roles),
        tabulate(_columns(), Roles(strata=("x_1",), propensity="p")),
        tabulate(_columns(), Roles(covariates=("x_1", "x_2"), propensity="p")),
    ]
    assert len({first, *(table.digest() for table in others)}) == 5


def test_slices_hold_each_row_once() -> None:
    table = tabulate(_columns(), Roles(slice="market", covariates=("x_*",)))
    parts = dict(table.by_slice())
    assert list(parts) == ["1", "2"]
    assert np.concatenate([part.outcome for part in parts.values()]).tolist() == table.outcome.tolist()
    assert parts["2"].covariates["x_2"].tolist() == ["a", "b"]
    with pytest.raises(InvalidInputError, match="no slice column"):
        list(tabulate(_columns(), Roles()).by_slice())


def test_a_placebo_adjusts_for_everything_but_itself() -> None:
    table = tabulate(_columns(), Roles(covariates=("x_*",), strata=("market",), negative_controls=("x_1", "market")))
    placebo = table.placebo("x_1")
    assert placebo.outcome.tolist() == [1, 2, 3, 4]
    assert list(placebo.adjusted) == ["market", "x_2"]
    assert list(table.placebo("market").adjusted) == ["x_1", "x_2"]


def test_a_policy_must_be_probabilities_for_every_arm() -> None:
    roles = Roles(propensity="p")
    table = tabulate(_columns(), roles, policy=[[0.25, 0.75]] * 4)
    assert table.target is not None
    assert table.target.tolist() == [0.25, 0.75, 0.25, 0.75]
    for bad in ([[0.5, 0.6]] * 4, [[1.5, -0.5]] * 4, [[0.5, 0.5]] * 3, [[1.0]] * 4):
        with pytest.raises(InvalidInputError) as refused:
            tabulate(_columns(), roles, policy=bad)
        assert refused.value.field == "policy"


def test_one_column_cannot_be_arm_and_outcome() -> None:
    with pytest.raises(InvalidInputError) as caught:
        tabulate({"a": [0, 1, 0, 1]}, Roles(treatment="a", outcome="a"))
    assert caught.value.field == "outcome"


def test_values_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="rescale"):
        tabulate({"treatment": [0, 1], "outcome": [1.0, 1e308]}, Roles())
