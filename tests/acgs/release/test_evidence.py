from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.release.evidence import Evidence, read_evidence, write_evidence

Build = Callable[..., Evidence]


def test_evidence_survives_a_file_with_the_same_digest(evidence_with: Build, tmp_path: Path) -> None:
    evidence = evidence_with()
    write_evidence(tmp_path / "evidence.json", evidence)
    read = read_evidence(tmp_path / "evidence.json")
    assert read.digest() == evidence.digest()
    assert evidence_with(seed=8).digest() != evidence.digest()
    assert read.quality is not None
    assert evidence.quality is not None
    assert np.array_equal(read.quality.deltas, evidence.quality.deltas)


@pytest.mark.parametrize("twin", [{"version": "1.0.0", "digest": "1" * 64}, {"version": "1.1.0", "digest": "0" * 64}])
def test_a_version_is_never_compared_with_itself(evidence_with: Build, twin: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="same version"):
        evidence_with(candidate={"name": "T1", **twin})


SPOILED = {
    "a quality that is not a number": ("quality", "candidate", [float("nan")] * 400, "not finite"),
    "a quality beyond 1": ("quality", "candidate", [1.5] * 400, "outside"),
    "words for numbers": ("quality", "candidate", ["0.5"] * 400, "numbers"),
    "too few qualities": ("quality", "candidate", [0.5], "length"),
    "a query twice": ("quality", "queries", ["q0"] * 400, "twice"),
    "a slice of strangers": ("quality", "slices", {"hard-NL": ["stranger"]}, "not measured"),
    "a slice that counts a query twice": ("quality", "slices", {"hard-NL": ["q0", "q0"]}, "twice"),
    "a time of 0": ("latency", "candidate_ms", [0.0] * 4000, "above 0"),
    "an endless time": ("latency", "candidate_ms", [float("inf")] * 4000, "not finite"),
    "numbers of other requests": ("latency", "repeats", [1], "same requests"),
    "too few times": ("latency", "candidate_ms", [1.0], "same requests"),
    "labels that are numbers": ("forecasts", "labels", [1] * 40_000, "true and false"),
    "too few labels": ("forecasts", "labels", [True], "length"),
    "another event": ("forecasts", "event", "click", "same event"),
    "more treated than there are": ("treated", "requests", 10, "than there were"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_evidence_that_cannot_be_true_is_refused(good_fields: dict[str, Any], evidence_with: Build, what: str) -> None:
    part, field, value, message = SPOILED[what]
    with pytest.raises(InvalidInputError, match=message):
        evidence_with(**{part: {**good_fields[part], field: value}})


def test_coverage_that_cannot_be_true_is_refused(good_fields: dict[str, Any], evidence_with: Build) -> None:
    one = good_fields["coverage"][0]
    with pytest.raises(InvalidInputError, match="twice"):
        evidence_with(coverage=[one, one])
    with pytest.raises(InvalidInputError, match="more were covered"):
        evidence_with(coverage=[{**one, "covered": 4001}])


def test_a_file_that_is_no_evidence_is_refused_by_the_names_of_its_fields_only(
    evidence_with: Build, tmp_path: Path
) -> None:
    path = tmp_path / "evidence.json"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_evidence(path)
    document = json.loads(evidence_with(quality=None, latency=None, forecasts=None).model_dump_json())
    stranger = copy.deepcopy(document)
    stranger["split"]["owner"] = "Jane Doe"
    path.write_text(json.dumps(stranger), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"split\.owner") as caught:
        read_evidence(path)
    assert "Jane" not in caught.value.message
    path.write_text(json.dumps(document)[:-20], encoding="utf-8")
    with pytest.raises(InvalidInputError, match="not release evidence"):
        read_evidence(path)
