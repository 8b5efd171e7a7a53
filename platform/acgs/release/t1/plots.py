"""Four plots of a run, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.release.evidence import Forecasts
from acgs.retrieval.gate import GateCurve
from acgs.retrieval.harvest import Measured

PARETO, GATE, RELIABILITY, COVERAGE = "pareto.png", "gate_curve.png", "reliability.png", "coverage.png"
_BINS: Final = 10
_SIZE: Final = (6.4, 4.0)


def pareto_plot(measured: Sequence[Measured], frontier: Sequence[Measured]) -> bytes:
    """Recall against warm p95."""
    figure, axes = _figure("warm p95, ms", "recall@10 against exact search", "ANN settings")
    axes.scatter(
        [item.p95_ms for item in measured], [item.recall for item in measured], s=14, alpha=0.5, label="settings"
    )
    axes.plot([item.p95_ms for item in frontier], [item.recall for item in frontier], "o-", label="Pareto frontier")
    return _png(figure, axes)


def gate_plot(curve: GateCurve) -> bytes:
    """Realised gain over the share of queries that fire."""
    figure, axes = _figure("share of queries that fire", "mean gain of nDCG@10", "Gate on unseen queries")
    axes.plot(curve.fired, curve.gain, label="by predicted gain")
    axes.plot(curve.fired, curve.oracle, "--", label="by true gain (oracle)")
    axes.plot([0, 1], [0, curve.gain[-1]], ":", label="at random")
    return _png(figure, axes)


def reliability_plot(forecasts: Forecasts) -> bytes:
    """What happened against what was stated, in bins of equal mass."""
    figure, axes = _figure("stated probability", "observed share", f"Reliability: {forecasts.event}")
    order = np.argsort(forecasts.probabilities, kind="stable")
    parts: list[NDArray[Any]] = np.array_split(order, min(_BINS, len(order)))
    axes.plot([0, 1], [0, 1], ":", label="calibrated")
    axes.plot(
        [float(forecasts.probabilities[part].mean()) for part in parts],
        [float(forecasts.labels[part].mean()) for part in parts],
        "o-",
        label=f"n = {len(order)}",
    )
    return _png(figure, axes)


def coverage_plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Observed coverage by slice within its acceptance interval."""
    figure, axes = _figure("slice", "coverage", "Conformal coverage by slice")
    known = [row for row in rows if row.get("coverage_percentage") is not None]
    for place, row in enumerate(known):
        axes.vlines(place, row["target_min"], row["target_max"], linewidth=6, alpha=0.3)
    axes.plot([row["coverage_percentage"] for row in known], "o", label="observed; bars: accepted")
    axes.set_xticks(range(len(known)), [f"{row['slice']}\nn = {row['n_samples']}" for row in known])
    return _png(figure, axes)


def _figure(x: str, y: str, title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Any, axes: Any) -> bytes:
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
