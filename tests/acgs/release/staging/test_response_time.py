"""What a row costs when it is asked again is no further evidence of what other rows cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.response_time import check_response_time, fewest_requests
from acgs.serving.served import ServedVersion
from acgs.statistics.evidence import Verdict

LIMITS = StagingLimits(requests=600, callers=1, mean_response_seconds=1.0, p95_response_seconds=0.02)


class Asked:
    """Answers at once, except for inputs that are slow."""

    def __init__(self, slow: set[int]) -> None:
        self._slow = slow

    def check(self, instances: Sequence[Any]) -> None:
        """Takes anything."""

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> None:
        if instances[0] in self._slow:
            time.sleep(0.03)


def verdicts(slow: set[int], rows: int, limits: StagingLimits = LIMITS) -> list[Verdict]:
    served = cast(ServedVersion, Asked(slow))
    return [result.verdict for result in check_response_time(served, range(rows), limits)]


@pytest.mark.parametrize(
    ("slow", "rows", "p95"),
    [
        (set(), 60, Verdict.PASS),
        ({7}, 60, Verdict.INSUFFICIENT),
        ({7}, 600, Verdict.PASS),
        (set(range(12)), 60, Verdict.FAIL),
        (set(), 50, Verdict.INSUFFICIENT),
    ],
    ids=["none is slow", "one of few rows", "one of many rows", "a fifth", "too few rows"],
)
def test_a_p95_holds_for_rows_and_not_only_for_requests(slow: set[int], rows: int, p95: Verdict) -> None:
    assert verdicts(slow, rows) == [Verdict.PASS, p95]


def test_the_mean_of_a_handful_of_rows_has_no_bounds_however_often_they_are_asked() -> None:
    assert verdicts(set(), 19)[0] is Verdict.INSUFFICIENT


def test_at_a_higher_confidence_more_requests_are_needed() -> None:
    assert [fewest_requests(confidence) for confidence in (0.95, 0.975)] == [59, 72]
