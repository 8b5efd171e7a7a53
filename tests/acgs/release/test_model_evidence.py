"""What two versions are held against each other by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from acgs.errors import InvalidInputError
from acgs.registry.model_version import VersionFacts
from acgs.release.evidence import Evidence
from acgs.release.model_evidence import compare
from acgs.release.staging.held_out import HeldOutRow
from acgs.serving.runtimes.runtime import Predictions
from acgs.serving.served import ServedVersion


class Doubling:
    """Answers twice the input, but refuses some."""

    def __init__(self, refused: Collection[int] = ()) -> None:
        self._refused = refused

    def check(self, instances: Sequence[Any]) -> None:
        if any(instance in self._refused for instance in instances):
            raise InvalidInputError("not this one", field="instances")

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        if parameters:
            raise InvalidInputError("no probabilities", field="parameters")
        return Predictions([2 * instance for instance in instances])


def held_against(baseline: Doubling, candidate: Doubling, rows: Sequence[HeldOutRow], timed: int = 200) -> Evidence:
    facts = [
        cast(
            VersionFacts,
            SimpleNamespace(name="triage", version=version, digest=lambda: "a" * 64, artifact_digest=digit),
        )
        for version, digit in (("1.0.0", "b" * 64), ("1.1.0", "c" * 64))
    ]
    sides = [cast(ServedVersion, each) for each in (baseline, candidate)]
    return compare((facts[0], sides[0]), (facts[1], sides[1]), rows, seed=0, timed=timed)


ROWS = [HeldOutRow(id=f"r{number}", input=number, label=2 * number) for number in range(40)]


def test_every_row_is_timed_as_often_as_any_other_and_both_together() -> None:
    latency = held_against(Doubling(), Doubling(), ROWS, timed=120).latency
    assert latency is not None
    assert latency.repeats is not None
    assert sorted(latency.repeats) == sorted(list(range(40)) * 3)
    assert len(latency.baseline_ms) == len(latency.candidate_ms) == 120


def test_what_only_the_baseline_refuses_is_left_out_of_the_timing_and_what_only_the_candidate_refuses_is_no_data() -> (
    None
):
    mended = held_against(Doubling(refused={7}), Doubling(), ROWS)
    assert mended.latency is not None
    assert mended.latency.requests == 39
    assert mended.quality is not None
    assert mended.quality.deltas.sum() == 1
    assert held_against(Doubling(), Doubling(refused={7}), ROWS).latency is None
    both = held_against(Doubling(refused={7}), Doubling(refused={7}), ROWS).latency
    assert both is not None
    assert both.requests == 39
    assert held_against(Doubling(refused=range(40)), Doubling(), ROWS).latency is None


def test_one_input_in_several_contexts_is_one_request_and_one_finding() -> None:
    rows = [row.model_copy(update={"id": f"{row.id} {n}", "context": {"n": n}}) for row in ROWS for n in range(3)]
    evidence = held_against(Doubling(), Doubling(), rows)
    assert evidence.latency is not None
    assert evidence.latency.requests == 40
    assert evidence.quality is not None
    clusters = evidence.quality.cluster_numbers()
    assert clusters is not None
    assert len(set(clusters.tolist())) == 40


@pytest.mark.parametrize("name", ["age 60|70", "a`b", "", "x" * 81])
def test_a_slice_that_no_report_can_name_is_refused_with_its_row(name: str) -> None:
    with pytest.raises(ValueError, match="slices"):
        HeldOutRow(id="r", input=1, slices=(name,))
