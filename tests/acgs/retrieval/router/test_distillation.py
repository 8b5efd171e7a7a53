from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from acgs.errors import AcgsError, InvalidInputError
from acgs.retrieval.router.distillation import distill
from acgs.retrieval.router.outputs import FALLS, RISES
from acgs.statistics.evidence import InsufficientDataError
from tests.acgs.retrieval.router.synthetic import NAMES, QUERIES, measured

if TYPE_CHECKING:
    from acgs.retrieval.router.distillation import Distillation


def test_tau_and_spend_rise_with_entropy_and_gain_falls_with_nl_confidence_everywhere(distilled: Distillation) -> None:
    """Exhaustive: all knots of all features against each other, in the tables as shipped."""
    router, knots = distilled.router(), distilled.knots
    grid = np.array(list(itertools.product(*knots)))
    shape = tuple(len(of) for of in knots)
    columns = router.predict(grid)
    tau, spend, gain = (column.reshape(shape) for column in columns)
    assert np.diff(tau, axis=NAMES.index("entropy")).min() >= -1e-12
    assert np.diff(spend, axis=NAMES.index("entropy")).min() >= -1e-12
    assert np.diff(gain, axis=NAMES.index("nl_confidence")).max() <= 1e-12
    assert tau.max() > tau.min()


def test_tables_are_faithful_to_a_teacher_that_is_nearly_additive(distilled: Distillation) -> None:
    for name in ("tau", "spend"):
        agreed = distilled.fidelity[name]
        assert agreed.r2 is not None
        assert agreed.held_out_r2 is not None
        assert agreed.r2 > 0.95
        assert agreed.held_out_r2 < agreed.r2
        assert agreed.held_out_r2 > 0.93
        assert agreed.decision_agreement is None
    decisions = distilled.fidelity["gain"].decision_agreement
    assert decisions is not None
    assert decisions > 0.8


def test_a_query_is_predicted_by_a_teacher_that_never_saw_it() -> None:
    """What the targets of a fold are changes nothing in the teacher's predictions for that fold."""
    pytest.importorskip("lightgbm")
    given, changed = measured(300), measured(300)
    fold = given["folds"] == 0
    changed["targets"]["gain"] = np.where(fold, 0.5, given["targets"]["gain"])
    first, second = distill(**given, seed=1).teacher["gain"], distill(**changed, seed=1).teacher["gain"]
    assert np.array_equal(first[fold], second[fold])
    assert not np.array_equal(first[~fold], second[~fold])


def test_the_same_data_and_seed_give_the_same_tables(distilled: Distillation) -> None:
    again = distill(**measured(), seed=3).decided_at((0.05, 0.08))
    assert again.data_digest == distilled.data_digest
    for name, student in distilled.students.items():
        other = again.students[name]
        assert (other.anchor, other.scale) == (student.anchor, student.scale)
        assert all(map(np.array_equal, other.tables, student.tables))


def test_other_data_have_another_digest(distilled: Distillation) -> None:
    given = measured()
    given["names"] = ("entropy", "size", "nl_confidence", "miss_rate")
    assert distill(**given, seed=3).data_digest != distilled.data_digest


def test_every_query_lies_in_one_segment_of_each_feature(distilled: Distillation) -> None:
    assert [sum(counts) for counts in distilled.samples] == [QUERIES] * 4
    assert [len(counts) for counts in distilled.samples] == [len(of) - 1 for of in distilled.knots]
    assert len(distilled.samples[NAMES.index("miss_rate")]) == 2


def test_directions_may_be_chosen() -> None:
    pytest.importorskip("lightgbm")
    signs = {"tau": {"length": FALLS}, "gain": {"miss_rate": RISES}}
    found = distill(**measured(300), seed=1, signs=signs)
    assert (np.diff(found.students["tau"].tables[1].astype(int)) <= 0).all()
    assert (np.diff(found.students["gain"].tables[3].astype(int)) >= 0).all()


def _spoil(**changed: Any) -> dict[str, Any]:
    return {**measured(150), **changed}


GOOD = measured(150)
SPOILED: dict[str, tuple[dict[str, Any], type[AcgsError], str]] = {
    "a feature that is not a number": (
        _spoil(features=np.where(GOOD["features"] > 14, np.nan, GOOD["features"])),
        InvalidInputError,
        "not finite",
    ),
    "too few names": (_spoil(names=NAMES[:3]), InvalidInputError, "queries by names"),
    "a name twice": (_spoil(names=("entropy",) * 4), InvalidInputError, "its own"),
    "a direction for a feature that is not there": (_spoil(names=("a", "b", "c", "d")), InvalidInputError, "entropy"),
    "a target that is missing": (_spoil(targets={"tau": np.zeros(150)}), InvalidInputError, "targets must be"),
    "a share above 1": (
        _spoil(targets={**GOOD["targets"], "tau": np.full(150, 1.1)}),
        InvalidInputError,
        r"\[0, 1\]",
    ),
    "a budget below 0": (_spoil(targets={**GOOD["targets"], "spend": np.full(150, -1.0)}), InvalidInputError, "0 ms"),
    "folds that are no whole numbers": (_spoil(folds=np.linspace(0, 1, 150)), InvalidInputError, "whole number"),
    "a fold too few": (_spoil(folds=np.zeros(149, dtype=int)), InvalidInputError, "a fold"),
    "two folds": (_spoil(folds=np.arange(150) % 2), InsufficientDataError, "3 folds"),
    "few queries": (measured(49), InsufficientDataError, "judge at least 50"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_cannot_be_distilled_is_refused(what: str) -> None:
    given, kind, message = SPOILED[what]
    with pytest.raises(kind, match=message):
        distill(**given, seed=1)


def test_agreement_on_queries_that_the_tables_never_saw_is_lower_where_there_is_noise() -> None:
    pytest.importorskip("lightgbm")
    given = measured(300)
    rng = np.random.default_rng(5)
    given["targets"]["gain"] = -0.1 * given["features"][:, 2] + rng.normal(0, 0.1, 300)
    agreed = distill(**given, seed=1).fidelity["gain"]
    assert agreed.r2 is not None
    assert agreed.held_out_r2 is not None
    assert agreed.held_out_r2 < agreed.r2 - 0.05
