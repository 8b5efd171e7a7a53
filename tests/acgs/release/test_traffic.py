"""What traffic shows of a candidate, looked at as often as one likes."""

from __future__ import annotations

import numpy as np
import pytest

from acgs.release.traffic import TrafficState, judge_against, judge_side_by_side, reference_from
from acgs.serving.deployments.record import RampPlan
from tests.acgs.release.windows import traffic

PLAN = RampPlan(error_margin=0.02)
STREAMS = 300


def test_no_traffic_is_no_data() -> None:
    assert judge_side_by_side([], [], PLAN).state is TrafficState.NO_DATA
    assert judge_against([], None, PLAN).state is TrafficState.NO_DATA


def test_an_equal_version_is_hardly_ever_sent_back() -> None:
    alarms = sum(
        judge_side_by_side(
            traffic("2.0.0", start=0, seconds=60, errors=0.02, seed=2 * n),
            traffic("1.0.0", start=0, seconds=60, errors=0.02, seed=2 * n + 1),
            PLAN,
        ).state
        is TrafficState.TRIPPED
        for n in range(STREAMS)
    )
    # The guards look after every request, so one reading covers all looks at the step.
    assert alarms / STREAMS <= PLAN.alpha


@pytest.mark.parametrize(("errors", "latency", "named"), [(0.3, 0.01, "errors"), (0.0, 0.03, "slower")])
def test_a_worse_version_is_found_beside_the_old_one(errors: float, latency: float, named: str) -> None:
    found = judge_side_by_side(
        traffic("2.0.0", start=0, seconds=30, errors=errors, latency=latency, seed=1),
        traffic("1.0.0", start=0, seconds=30, seed=2),
        PLAN,
    )
    assert found.state is TrafficState.TRIPPED
    assert named in found.reason


def test_a_share_of_a_tenth_is_judged_too() -> None:
    found = judge_side_by_side(
        traffic("2.0.0", start=0, seconds=60, rate=2, errors=0.5, seed=1),
        traffic("1.0.0", start=0, seconds=60, rate=18, seed=2),
        PLAN,
    )
    assert found.state is TrafficState.TRIPPED
    assert {guard.n for guard in found.guards} <= set(range(1, 121))


def test_after_the_flip_the_old_version_is_the_reference() -> None:
    before = reference_from(traffic("1.0.0", start=0, seconds=60, errors=0.01, seed=3))
    assert before.requests == 1200
    assert before.p95_seconds == pytest.approx(0.01 * np.exp(0.4 * 1.645), rel=0.1)
    good = traffic("2.0.0", start=100, seconds=120, errors=0.01, seed=4)
    assert judge_against(good, before, PLAN).state is TrafficState.QUIET
    for bad in ({"errors": 0.2}, {"latency": 0.05}):
        worse = traffic("2.0.0", start=100, seconds=60, seed=5, **bad)  # type: ignore[arg-type]
        assert judge_against(worse, before, PLAN).state is TrafficState.TRIPPED


def test_the_first_version_of_a_model_is_judged_by_its_errors() -> None:
    assert judge_against(traffic("1.0.0", start=0, seconds=60, errors=0.3), None, PLAN).state is TrafficState.TRIPPED
    assert judge_against(traffic("1.0.0", start=0, seconds=60), None, PLAN).state is TrafficState.QUIET


def test_a_reading_is_the_same_each_time() -> None:
    windows = traffic("2.0.0", start=0, seconds=20, errors=0.1), traffic("1.0.0", start=0, seconds=20, errors=0.1)
    assert judge_side_by_side(*windows, PLAN) == judge_side_by_side(*windows, PLAN)


def test_a_candidate_that_fails_is_found_though_the_baseline_has_next_to_no_requests() -> None:
    candidate = traffic("2.0.0", start=0, seconds=30, errors=1.0)
    for baseline in ([], traffic("1.0.0", start=0, seconds=1, rate=3)):
        found = judge_side_by_side(candidate, baseline, PLAN, None)
        assert found.state is TrafficState.TRIPPED
        assert "error rate" in found.reason


def test_a_slow_candidate_is_found_by_the_reference_alone() -> None:
    reference = reference_from(traffic("1.0.0", start=0, seconds=60))
    slow = traffic("2.0.0", start=100, seconds=30, latency=0.2)
    assert judge_side_by_side(slow, [], PLAN, reference).state is TrafficState.TRIPPED


def test_a_change_in_what_is_asked_is_no_fault_of_a_candidate_that_is_no_slower() -> None:
    reference = reference_from(traffic("1.0.0", start=0, seconds=60))
    for seconds in (1, 5, 30):
        slow = traffic("2.0.0", start=100, seconds=seconds, latency=0.2, seed=1)
        as_slow = traffic("1.0.0", start=100, seconds=seconds, latency=0.2, seed=2)
        assert judge_side_by_side(slow, as_slow, PLAN, reference).state is TrafficState.QUIET
