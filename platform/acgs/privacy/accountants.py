"""Epsilon of the Poisson-subsampled Gaussian mechanism, composed over segments of steps.

Two accountants, both upper bounds: Renyi (Mironov, Talwar, Zhang 2019, arXiv 1908.10530, converted by Balle et al.
2020, arXiv 1905.09982) and the numerical composition of privacy loss variables (Gopi, Lee, Wutschitz 2021,
arXiv 2106.02848). `larger` takes the worse of the two. Gaussian DP is not offered: it is an approximation that reports
less than was spent. The arithmetic is Opacus', loaded on first use because it brings torch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from acgs.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AccountantName = Literal["rdp", "prv", "larger"]

RENYI_ORDERS: Final = (
    *(1 + tenth / 10 for tenth in range(1, 100)),
    *(float(order) for order in range(12, 64)),
    *(72.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0),
)
"""Opacus' orders, and some above them without which a small epsilon is overstated."""

PRV_EPSILON_ERROR: Final = 0.01
PRV_DELTA_ERROR: Final = 1e-3
"""Share of delta that the discretisation may get wrong; Opacus' default."""
PRV_MAX_GRID: Final = 1 << 23
"""Points of the discretised privacy loss; beyond it the PRV accountant would take gigabytes."""

MAX_NOISE_MULTIPLIER: Final = 1e5
_LEAST_NOISE: Final = 0.05
_SIGMA_DIGITS: Final = 4
_STEEPEST: Final = 20.0
"""Bound on the logarithm that the root search sees, where there is no figure or no privacy at all."""
_PRV_STEP_TOLERANCE: Final = 500
"""A PRV step limit may fall short of the exact one by a 500th, to save evaluations."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """`steps` of one mechanism: noise of `noise_multiplier` times the clipping norm, records sampled at `sample_rate`.

    Raises `InvalidInputError` for a mechanism that gives no guarantee.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (self.noise_multiplier > 0 and math.isfinite(self.noise_multiplier)):
            raise InvalidInputError("noise_multiplier must be above 0", field="noise_multiplier")
        if not 0 < self.sample_rate <= 1:
            raise InvalidInputError("sample_rate must be above 0 and at most 1", field="sample_rate")
        if self.steps < 0:
            raise InvalidInputError("steps must not be negative", field="steps")


History = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Epsilons:
    """One history's epsilon by both accountants; `prv` is None where it cannot be evaluated."""

    rdp: float
    prv: float | None

    @property
    def larger(self) -> float:
        """The worse of the two. Each alone is a proof, so one suffices."""
        return self.rdp if self.prv is None else max(self.rdp, self.prv)


def merge(segments: Iterable[Segment]) -> History:
    """The same history with the steps of equal mechanisms added, in one canonical order.

    Composition costs time per segment, and does not depend on their order.
    """
    steps: dict[tuple[float, float], int] = {}
    for segment in segments:
        key = (segment.noise_multiplier, segment.sample_rate)
        steps[key] = steps.get(key, 0) + segment.steps
    return tuple(sorted(Segment(sigma, rate, count) for (sigma, rate), count in steps.items() if count))


def epsilon(segments: Iterable[Segment], delta: float, accountant: AccountantName = "larger") -> float:
    """Epsilon at `delta` of all segments together; 0.0 for none.

    Raises:
        UnavailableError: only for accountant `prv`, when it cannot evaluate this history.
    """
    history = _checked(segments, delta)
    if accountant == "rdp":
        return _rdp_epsilon(history, delta)
    if accountant == "larger":
        return epsilons(history, delta).larger
    value = _prv_epsilon(history, delta)
    if value is None:
        raise UnavailableError("the PRV accountant cannot evaluate this history; choose the accountant rdp or larger")
    return value


def epsilons(segments: Iterable[Segment], delta: float) -> Epsilons:
    """Epsilon at `delta` by both accountants."""
    history = _checked(segments, delta)
    return Epsilons(_rdp_epsilon(history, delta), _prv_epsilon(history, delta))


def solve_noise_multiplier(
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: AccountantName = "larger",
    *,
    prior: Iterable[Segment] = (),
) -> float:
    """The least noise multiplier, rounded up to 4 decimals, with which `steps` after `prior` stay within the target.

    Raises:
        InvalidInputError: `target_epsilon` is not positive, or no noise reaches it after `prior`.
    """
    if not (target_epsilon > 0 and math.isfinite(target_epsilon)):
        raise InvalidInputError("target_epsilon must be above 0", field="target_epsilon")
    spent = merge(prior)

    def reached(sigma: float, name: AccountantName) -> float:
        return _bound((*spent, Segment(sigma, sample_rate, steps)), delta, name)

    if accountant != "larger":
        return _least_sigma(lambda sigma: reached(sigma, accountant), target_epsilon)
    by_rdp = _least_sigma(lambda sigma: reached(sigma, "rdp"), target_epsilon)
    if reached(by_rdp, "larger") <= target_epsilon:
        return by_rdp
    return _least_sigma(lambda sigma: reached(sigma, "larger"), target_epsilon)


def max_steps(
    target_epsilon: float,
    delta: float,
    noise_multiplier: float,
    sample_rate: float,
    accountant: AccountantName = "larger",
    *,
    prior: Iterable[Segment] = (),
    at_most: int = 10**9,
) -> int:
    """How many steps of one mechanism stay within the target after `prior`; 0 when the prior already passes it."""
    spent = merge(prior)

    def fits(steps: int, name: AccountantName) -> bool:
        return _bound((*spent, Segment(noise_multiplier, sample_rate, steps)), delta, name) <= target_epsilon

    by_rdp = _last_that(lambda steps: fits(steps, "rdp"), start=1, at_most=at_most, tolerance=0)
    if accountant == "rdp":
        return by_rdp
    if accountant == "larger" and fits(by_rdp, "larger"):
        return by_rdp
    limit = by_rdp if accountant == "larger" else at_most
    return _last_that(
        lambda steps: fits(steps, accountant), start=max(1, by_rdp), at_most=limit, tolerance=_PRV_STEP_TOLERANCE
    )


def _bound(segments: History, delta: float, accountant: AccountantName) -> float:
    """As `epsilon`, infinite where there is no figure, so that a search turns away from there."""
    try:
        return epsilon(segments, delta, accountant)
    except UnavailableError:
        return math.inf


def _checked(segments: Iterable[Segment], delta: float) -> History:
    if not 0 < delta < 1:
        raise InvalidInputError("delta must lie between 0 and 1", field="delta")
    return merge(segments)


def _least_sigma(reached: Callable[[float], float], target: float) -> float:
    """The root of a falling, smooth function, found on logarithms and left on the safe side."""
    from scipy.optimize import brentq

    low, high = _LEAST_NOISE, 1.0
    while reached(high) > target:
        low, high = high, high * 2
        if high > MAX_NOISE_MULTIPLIER:
            raise InvalidInputError(
                f"no noise keeps epsilon within {target:.4g}; raise target_epsilon, or use data whose budget is left",
                field="target_epsilon",
            )

    def excess(logarithm: float) -> float:
        ratio = reached(math.exp(logarithm)) / target
        return max(-_STEEPEST, min(_STEEPEST, math.log(ratio))) if ratio > 0 else -_STEEPEST

    if reached(low) <= target:
        return low
    root = math.exp(brentq(excess, math.log(low), math.log(high), xtol=10.0**-_SIGMA_DIGITS))
    scale = 10.0**_SIGMA_DIGITS
    sigma = math.ceil(root * scale) / scale
    while reached(sigma) > target:
        sigma = math.ceil(sigma * (1 + 1 / scale) * scale) / scale
    return sigma


def _last_that(fits: Callable[[int], bool], *, start: int, at_most: int, tolerance: int) -> int:
    """The largest count that fits, found by doubling and bisection; with `tolerance` t, at most a t-th too small."""
    low, high = 0, min(start, at_most)
    while fits(high):
        if high == at_most:
            return at_most
        low, high = high, min(high * 2, at_most)
    while high - low > max(1, low // tolerance if tolerance else 1):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    # The prior alone may be past the target, and then not even 0 steps fit; 0 is the answer all the same.
    return low


def _rdp_epsilon(history: History, delta: float) -> float:
    import numpy as np
    from opacus.accountants.analysis.rdp import get_privacy_spent

    if not history:
        return 0.0
    total: NDArray[np.float64] = np.sum([_renyi(s.noise_multiplier, s.sample_rate) * s.steps for s in history], axis=0)
    with warnings.catch_warnings():
        # An optimum at the edge of the orders is a looser bound, still a bound.
        warnings.simplefilter("ignore", UserWarning)
        value, _ = get_privacy_spent(orders=list(RENYI_ORDERS), rdp=total.tolist(), delta=delta)
    return max(0.0, float(value))


@lru_cache(maxsize=4096)
def _renyi(noise_multiplier: float, sample_rate: float) -> NDArray[np.float64]:
    """Renyi divergence of one step at each order; infinite where the series cannot be evaluated."""
    import numpy as np
    from opacus.accountants.analysis.rdp import compute_rdp

    values = np.empty(len(RENYI_ORDERS))
    for position, order in enumerate(RENYI_ORDERS):
        try:
            with np.errstate(all="ignore"):
                value = float(
                    compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=float(order))
                )
        except (ValueError, OverflowError):
            # Cancellation in the series of a fractional order; leaving an order out only loosens the bound.
            value = math.inf
        values[position] = value if value >= 0 else math.inf
    return values


@lru_cache(maxsize=1024)
def _prv_epsilon(history: History, delta: float) -> float | None:
    import numpy as np
    from opacus.accountants import PRVAccountant

    if not history:
        return 0.0
    accountant = PRVAccountant()
    accountant.history = [(s.noise_multiplier, s.sample_rate, s.steps) for s in history]
    grid = _prv_grid(history, delta)
    # Opacus measures rounding against extended precision, but its Fourier transform works in doubles: where rounding
    # may exceed the share of delta set aside for errors, its figure is no bound.
    if grid > PRV_MAX_GRID or grid * np.finfo(np.float64).eps > delta * PRV_DELTA_ERROR:
        return None
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(
                accountant.get_epsilon(delta, eps_error=PRV_EPSILON_ERROR, delta_error=delta * PRV_DELTA_ERROR)
            )
    except (RuntimeError, ValueError, OverflowError, IndexError, MemoryError):
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _prv_grid(history: Sequence[Segment], delta: float) -> float:
    """About how many points the PRV accountant would use (remark 5.6 of its paper, in Opacus' form)."""
    delta_error = delta * PRV_DELTA_ERROR
    reach = _rdp_epsilon(tuple(history), delta_error / 4) + 3
    steps = sum(segment.steps for segment in history)
    mesh = PRV_EPSILON_ERROR / math.sqrt(steps * math.log(12 / delta_error) / 2)
    return 2 * reach / mesh
