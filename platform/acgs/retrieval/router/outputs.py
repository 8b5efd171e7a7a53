"""What the router predicts, and in which direction each prediction must follow a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from acgs.statistics.evidence import Floats

OUTPUTS: Final = ("tau", "spend", "gain")
RISES: Final = 1
FALLS: Final = -1

Signs = Mapping[str, Mapping[str, int]]
"""By output, then by feature: RISES or FALLS. A feature that is not named is free."""

MONOTONE: Final[Signs] = {
    "tau": {"entropy": RISES},
    "spend": {"entropy": RISES},
    "gain": {"nl_confidence": FALLS},
}


class RouterOutput(NamedTuple):
    """The prediction for one query."""

    tau: float
    """Share of the semantic leg, in [0, 1]."""
    spend: float
    """Budget of the rerank stage, in ms."""
    gain: float
    """Expected gain in nDCG@10 from spending it."""


class RouterColumns(NamedTuple):
    """The predictions for many queries, each of shape (n,), in the units of `RouterOutput`."""

    tau: Floats
    spend: Floats
    gain: Floats
