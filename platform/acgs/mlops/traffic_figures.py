"""How the traffic of a model went, counted from its windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from acgs.serving.windows import OutcomeWindow

Figures = dict[str, float | int | None]


def traffic_figures(windows: Iterable[OutcomeWindow]) -> dict[str, Figures]:
    """Requests, errors and latency by version; what was not measured is None."""
    found: dict[str, list[OutcomeWindow]] = {}
    for window in windows:
        found.setdefault(window.version, []).append(window)
    return {version: _figures(of) for version, of in sorted(found.items())}


def _figures(windows: Sequence[OutcomeWindow]) -> Figures:
    times = sorted(seconds for window in windows for seconds in window.latencies)
    requests, errors = sum(w.requests for w in windows), sum(w.errors for w in windows)

    def quantile(share: float) -> float | None:
        return times[min(len(times) - 1, int(share * len(times)))] * 1000 if times else None

    return {
        "requests": requests,
        "errors": errors,
        "error_rate": errors / requests if requests else None,
        "latency_ms_p50": quantile(0.5),
        "latency_ms_p95": quantile(0.95),
        "shadow_requests": sum(w.shadow_requests for w in windows),
        "shadow_agreed": sum(w.shadow_agreed for w in windows),
        "shadow_errors": sum(w.shadow_errors for w in windows),
    }
