"""Confidence bounds for a proportion."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""Two-sided 95 % normal quantile."""


def wilson_interval(successes: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval (Wilson 1927) for `successes` of `n`; the counts may be effective, not whole.

    Returns:
        (lower, upper) in [0, 1]; (0, 1), the state of knowing nothing, when `n` is 0.

    Raises:
        ValueError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError("successes must lie between 0 and n")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def wilson_lower(successes: float, n: float, z: float = Z_95) -> float:
    """Lower end of the Wilson interval; 0 without data."""
    return wilson_interval(successes, n, z)[0]
