"""Evidence of a good candidate, of which a test spoils one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acgs.release.evidence import Evidence

QUERIES = 400
REQUESTS = 4000
LABELS = 40_000


def _quality(rng: np.random.Generator) -> dict[str, Any]:
    queries = [f"q{number}" for number in range(QUERIES)]
    baseline = rng.uniform(0.1, 0.7, QUERIES)
    return {
        "queries": queries,
        "baseline": baseline,
        "candidate": np.clip(baseline + rng.normal(0.04, 0.1, QUERIES), 0, 1),
        "slices": {"hard-NL": queries[:150], "short": queries[150:]},
    }


def _latency(rng: np.random.Generator) -> dict[str, Any]:
    baseline = rng.lognormal(4.0, 0.2, REQUESTS)
    return {"baseline_ms": baseline, "candidate_ms": baseline + rng.normal(0.1, 0.3, REQUESTS)}


def _forecasts(rng: np.random.Generator) -> dict[str, Any]:
    stated = rng.beta(2, 3, LABELS)
    return {"event": "gate fires rightly", "probabilities": stated, "labels": rng.random(LABELS) < stated}


@pytest.fixture(scope="session")
def good_fields() -> dict[str, Any]:
    """The fields of evidence that every guard passes."""
    rng = np.random.default_rng(5)
    return {
        "baseline": {"name": "T0", "version": "1.0.0", "digest": "0" * 64},
        "candidate": {"name": "T1", "version": "1.1.0", "digest": "1" * 64},
        "split": {"name": "held-out", "digest": "2" * 64},
        "seed": 7,
        "quality": _quality(rng),
        "latency": _latency(rng),
        "overlap": {"jaccard": np.where(rng.random(2000) < 0.01, 9 / 11, 1.0)},
        "treated": {"requests": REQUESTS, "jaccard": np.full(1000, 0.6)},
        "forecasts": _forecasts(rng),
        "earlier_forecasts": _forecasts(rng),
        "coverage": [
            {
                "slice": name,
                "quantity": "delta nDCG@10",
                "alpha": 0.05,
                "covered": 3800,
                "tested_on": 4000,
                "calibrated_on": 4000,
            }
            for name in ("hard-NL", "short")
        ],
        "effect": {"verdict": "ACCEPT", "n": 4000, "method": "cross-fitted DR"},
    }


@pytest.fixture
def evidence_with(good_fields: dict[str, Any]) -> Callable[..., Evidence]:
    """Builds the evidence with some parts replaced."""

    def build(**changed: Any) -> Evidence:
        return Evidence.model_validate({**good_fields, **changed})

    return build
