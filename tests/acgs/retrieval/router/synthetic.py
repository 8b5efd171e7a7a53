"""Targets that follow the features as the router expects, with noise."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = ("entropy", "length", "nl_confidence", "miss_rate")
QUERIES = 900


def measured(n: int = QUERIES, seed: int = 1) -> dict[str, Any]:
    """Arguments of `distill`, but for the seed."""
    rng = np.random.default_rng(seed)
    entropy, length = rng.exponential(2.5, n), rng.poisson(8, n).astype(float)
    nl_confidence, miss_rate = rng.beta(2, 3, n), rng.choice([0.0, 0.1, 0.3], n)
    return {
        "features": np.stack([entropy, length, nl_confidence, miss_rate], axis=1),
        "names": NAMES,
        "targets": {
            "tau": np.clip(0.4 + 0.05 * entropy + 0.1 * miss_rate + rng.normal(0, 0.05, n), 0, 1),
            "spend": np.maximum(2 + entropy + 0.2 * length + rng.normal(0, 0.5, n), 0),
            "gain": 0.1 - 0.1 * nl_confidence + 0.05 * np.sin(length) + rng.normal(0, 0.02, n),
        },
        "folds": np.arange(n) % 4,
    }
