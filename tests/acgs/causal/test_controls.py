from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.causal.controls import Placebo, check_placebo, measure_placebos
from acgs.causal.estimators import Estimate
from acgs.causal.plan import AuditPlan
from acgs.causal.table import LoggedTable
from acgs.statistics.evidence import InsufficientDataError, Verdict
from tests.acgs.causal.logs import experiment, table_of

PLAN = AuditPlan()


def _placebo(value: float, half: float, p_value: float = 0.5, rows: int = 100) -> Placebo:
    return Placebo("before", value, value - half, value + half, p_value, p_value, None, rows)


def test_a_small_effect_that_is_known_well_passes_though_it_is_surely_not_zero() -> None:
    assert check_placebo(_placebo(0.05, 0.02, p_value=0.001), PLAN).verdict is Verdict.PASS


def test_a_wide_interval_around_zero_passes_nothing_and_says_how_many_rows_would() -> None:
    found = check_placebo(_placebo(0.0, 0.5), PLAN)
    assert found.verdict is Verdict.INSUFFICIENT
    assert "about 400 rows" in found.reason


def test_an_effect_that_cannot_exist_fails() -> None:
    assert check_placebo(_placebo(0.4, 0.2, p_value=0.001), PLAN).verdict is Verdict.FAIL
    assert check_placebo(_placebo(0.2, 0.3, p_value=0.01), PLAN).verdict is Verdict.FAIL


@given(st.floats(-1, 1), st.floats(0.001, 1))
def test_only_an_interval_inside_the_margin_passes(value: float, half: float) -> None:
    passes = check_placebo(_placebo(value, half), PLAN).verdict is Verdict.PASS
    assert passes == (abs(value) + half < PLAN.margin)


def test_p_values_are_adjusted_for_the_number_of_controls_and_effects_are_in_standard_deviations() -> None:
    columns = experiment(200) | {"second": np.arange(200.0)}
    table = table_of(columns, negative_controls=("before", "second"))

    def measured(control: LoggedTable) -> tuple[Estimate, float, float | None]:
        return Estimate("mean", 3.0, 1.0 if control.outcome[1] == 1.0 else 3.0, 1000), 10.0, 0.4

    first, second = measure_placebos(table, PLAN, measured)
    assert (second.value, second.upper) == (0.3, pytest.approx(0.3 + 0.16463, abs=1e-4))
    assert first.p_value == pytest.approx(0.3176, abs=1e-3)
    assert (first.adjusted, second.adjusted) == (first.p_value, 2 * second.p_value)
    assert first.permutation_p == 0.4


def test_a_control_that_does_not_vary_is_named() -> None:
    table = table_of(experiment(200) | {"flat": np.ones(200)}, negative_controls=("flat",))

    def fails(_control: LoggedTable) -> tuple[Estimate, float, float | None]:
        raise InsufficientDataError("the outcome does not vary")

    with pytest.raises(InsufficientDataError, match="negative control flat"):
        measure_placebos(table, PLAN, fails)
