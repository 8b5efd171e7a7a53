"""Windows of traffic as routers would record them."""

from __future__ import annotations

import numpy as np

from acgs.serving.routing import Slot
from acgs.serving.windows import OutcomeWindow


def traffic(
    version: str,
    *,
    start: float,
    seconds: int,
    rate: int = 20,
    errors: float = 0.0,
    latency: float = 0.01,
    seed: int = 0,
    model: str = "triage",
) -> list[OutcomeWindow]:
    """One window a second: `rate` requests, each failing with probability `errors`, else lasting about `latency` s."""
    draw = np.random.default_rng(seed)
    made = []
    for second in range(seconds):
        failed = int((draw.random(rate) < errors).sum())
        times = tuple(float(t) for t in latency * draw.lognormal(0.0, 0.4, rate - failed))
        made.append(OutcomeWindow("router-1", model, version, Slot.BLUE, start + second, 1.0, rate, failed, times))
    return made
