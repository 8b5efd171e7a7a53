"""Boosters that LightGBM would crash or hang on are refused; what it writes itself is taken."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.registry.artifacts.formats import check_file
from acgs.registry.artifacts.lightgbm_text import check_booster
from acgs.registry.artifacts.refusal import FormatError, RefusedFileError

QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_per_group": 1, "cat_smooth": 1}
LOAD = """
import sys, numpy, lightgbm
booster = lightgbm.Booster(model_str=open(sys.argv[1]).read())
booster.predict(numpy.zeros((4, booster.num_feature())), num_threads=1)
"""


def booster(seed: int = 0, rounds: int = 2, categorical: bool = False, **params: Any) -> Any:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(80, 3))
    rows[:, 2] = draw.integers(0, 40, 80)
    classes = params.get("num_class", 2)
    labels = draw.integers(0, classes, 80) if classes > 2 else (np.sin(rows[:, 0] * 3) + rows[:, 2] % 3 > 1) * 1.0
    data = lightgbm.Dataset(rows, labels, categorical_feature=[2] if categorical else [], params={"verbosity": -1})
    return lightgbm.train({**QUIET, **params}, data, rounds)


def text(**params: Any) -> str:
    return str(booster(**params).model_to_string())


def checked(model: str) -> int:
    return check_booster(io.BytesIO(model.encode()))


def resized(model: str) -> str:
    """The text with `tree_sizes` as they are."""
    blocks = re.findall(r"Tree=\d+\n.*?\n\n+(?=Tree=|end of trees)", model, re.DOTALL)
    return re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(str(len(b.encode())) for b in blocks), model, count=1)


def with_line(model: str, name: str, change: Callable[[list[str]], list[str]]) -> str:
    """The last line of that name changed."""
    *_, found = re.finditer(rf"\n{name}=(.*)", model)
    line = f"\n{name}=" + " ".join(change(found[1].split()))
    return resized(model[: found.start()] + line + model[found.end() :])


def first_is(value: str) -> Callable[[list[str]], list[str]]:
    return lambda values: [value, *values[1:]]


FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
OBJECTIVES = [
    {"objective": "binary"},
    {"objective": "regression"},
    {"objective": "regression_l1"},
    {"objective": "cross_entropy"},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 4},
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    objective=st.sampled_from(OBJECTIVES),
    boosting=st.sampled_from(
        [{}, {"boosting": "dart"}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}]
    ),
    form=st.sampled_from([{}, {"categorical": True}, {"linear_tree": True}, {"min_data_in_leaf": 1000}]),
    leaves=st.integers(2, 12),
    rounds=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_what_lightgbm_writes_is_taken(
    objective: dict[str, Any], boosting: dict[str, Any], form: dict[str, Any], leaves: int, rounds: int, seed: int
) -> None:
    if "linear_tree" in form and objective["objective"] == "regression_l1":
        return  # LightGBM refuses to train it
    assert checked(text(num_leaves=leaves, rounds=rounds, seed=seed, **{**objective, **boosting, **form})) == 3


def test_a_model_trained_with_an_objective_of_one_s_own_is_taken() -> None:
    def squares(found: Any, data: Any) -> tuple[Any, Any]:
        return found - data.get_label(), np.ones_like(found)

    assert checked(text(objective=squares)) == 3


def test_constants_and_categories_are_in_the_models_that_are_tried() -> None:
    assert "num_leaves=1\n" in text(objective="binary", min_data_in_leaf=1000)
    assert "cat_threshold=" in text(objective="binary", categorical=True)
    assert re.search(r"num_features=.*[1-9]", text(objective="regression", linear_tree=True, rounds=3))


PLAIN = {"objective": "binary", "num_leaves": 4}
CATEGORIES = {"objective": "binary", "categorical": True, "num_leaves": 4}
LINEAR = {"objective": "regression", "linear_tree": True, "num_leaves": 4, "rounds": 3}


@pytest.mark.parametrize(
    ("line", "change", "reason"),
    [
        ("split_feature", first_is("999999"), "split_feature"),
        ("split_feature", first_is("-1"), "split_feature"),
        ("split_feature", lambda v: v[1:], "values, not"),
        ("left_child", lambda v: ["0"] * len(v), "two parents"),
        ("right_child", first_is("0"), "two parents"),
        ("left_child", first_is("3"), "left_child"),
        ("right_child", first_is("-5"), "right_child"),
        ("right_child", first_is("99999999999"), "whole numbers"),
        ("leaf_value", lambda v: v[1:], "values, not"),
        ("num_leaves", lambda v: ["5"], "values, not"),
        ("num_leaves", lambda v: ["0"], "num_leaves"),
        ("num_leaves", lambda v: ["2000000000"], "num_leaves"),
        ("decision_type", first_is("1"), "categor"),
        ("decision_type", first_is("64"), "decision_type"),
        ("num_cat", lambda v: ["1"], "cat_boundaries"),
        ("is_linear", lambda v: ["1"], "missing"),
        ("max_feature_idx", lambda v: ["0"], "split_feature"),
        ("max_feature_idx", lambda v: ["2147483647"], "max_feature_idx"),
        ("num_class", lambda v: ["7"], "do not agree"),
        ("num_tree_per_iteration", lambda v: ["2"], "do not agree"),
        ("objective", lambda v: ["multiclass", "num_class:9"], "do not agree"),
        ("objective", lambda v: ["whatever"], "not known"),
        ("version", lambda v: ["v9"], "version"),
    ],
)
def test_a_tree_that_points_beside_its_arrays_is_refused(
    line: str, change: Callable[[list[str]], list[str]], reason: str
) -> None:
    bad = with_line(text(**PLAIN), line, change)
    with pytest.raises(FormatError, match=reason):
        checked(bad)


@pytest.mark.parametrize(
    ("params", "line", "change"),
    [
        (CATEGORIES, "cat_boundaries", lambda v: [*v[:-1], "900000000"]),
        (CATEGORIES, "cat_boundaries", first_is("-1")),
        (CATEGORIES, "cat_threshold", lambda v: v[1:]),
        (CATEGORIES, "cat_threshold", first_is("4294967296")),
        (CATEGORIES, "num_cat", lambda v: ["0"]),
        (LINEAR, "leaf_features", first_is("70000")),
        (LINEAR, "leaf_features", lambda v: v[1:]),
        (LINEAR, "leaf_coeff", lambda v: v[1:]),
        (LINEAR, "num_features", first_is("-3")),
        (LINEAR, "num_features", first_is("2000000000")),
    ],
)
def test_sets_of_categories_and_linear_leaves_must_fit(
    params: dict[str, Any], line: str, change: Callable[[list[str]], list[str]]
) -> None:
    good = text(**params)
    assert f"\n{line}=" in good
    with pytest.raises(FormatError):
        checked(with_line(good, line, change))


def test_a_categorical_split_names_a_set_that_is_there() -> None:
    good = text(**CATEGORIES)
    tree = good.split("Tree=1", 1)[1]
    decisions = re.search(r"decision_type=(.*)", tree)
    assert decisions is not None
    place = [int(value) & 1 for value in decisions[1].split()].index(1)
    for value in ("900000", "-1", "0.5", "nan"):
        with pytest.raises(FormatError, match="set of categories"):
            checked(with_line(good, "threshold", lambda v, value=value: [*v[:place], value, *v[place + 1 :]]))  # type: ignore[misc]


def test_a_circle_beside_the_tree_is_refused() -> None:
    model = with_line(text(**PLAIN), "left_child", lambda _: ["-1", "2", "1"])
    with pytest.raises(FormatError, match="cannot be reached"):
        checked(with_line(model, "right_child", lambda _: ["-2", "-3", "-4"]))


def test_sizes_of_trees_that_do_not_fit_and_lines_that_come_twice_are_refused() -> None:
    good = text(**PLAIN)
    for sizes in ("", "999999999", "1 1", "0 0", "400 400"):
        with pytest.raises(FormatError):
            checked(re.sub("tree_sizes=.*", f"tree_sizes={sizes}", good))
    twice = resized(good.replace("\nnum_cat=0", "\nnum_cat=0\nnum_cat=0", 1))
    with pytest.raises(FormatError, match="twice"):
        checked(twice)
    for end in (good.index("end of trees") // 2, good.index("end of trees") + 3, 100):
        with pytest.raises(FormatError):
            checked(good[:end])


@pytest.mark.parametrize("name", ["model.txt", "model.lgb"])
def test_the_registry_refuses_it_under_every_name(name: str) -> None:
    bad = with_line(text(**PLAIN), "split_feature", first_is("999999"))
    with pytest.raises(RefusedFileError, match="tree 1"):
        check_file(name, io.BytesIO(bad.encode()))


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_booster_with_a_number_changed_is_refused_or_harmless(data: Any, tmp_path_factory: Any) -> None:
    params = data.draw(st.sampled_from([PLAIN, CATEGORIES, LINEAR]))
    good = text(**params)
    names = sorted(set(re.findall(r"\n([a-z_]+)=[-0-9. ]+(?=\n)", good.split("end of trees")[0])) - {"tree_sizes"})
    name = data.draw(st.sampled_from(names))
    value = str(data.draw(st.sampled_from([-5, -2, -1, 0, 1, 2, 3, 4, 7, 64, 70000, 2**31 - 1])))

    def change(values: list[str]) -> list[str]:
        place = data.draw(st.integers(0, max(0, len(values) - 1)))
        return [*values[:place], value, *values[place + 1 :]]

    model = with_line(good, name, change)
    try:
        checked(model)
    except FormatError:
        return
    path = tmp_path_factory.mktemp("changed") / "model.txt"
    path.write_text(model)
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.returncode
