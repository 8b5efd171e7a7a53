"""From minutes of traffic to the states of the rollback triggers, valid at every look.

Each trigger watches the mean of bounded values by betting, in two ways that share its alpha: one gambler who starts
with the period finds a loss that came with the release soonest, and one that starts at every window finds a loss that
came later. A p95 is watched as the share of requests above its limit. Many streams may run at once: they are the
leading axes of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.release.monitoring_config import MonitoringConfig, Signal, Trigger
from acgs.statistics.betting import Betting, ChangeWatch
from acgs.statistics.evidence import Floats


class TriggerState(StrEnum):
    """TRIPPED stays until a new monitor is made; NO_DATA: the window had too few values to say anything."""

    QUIET = "QUIET"
    TRIPPED = "TRIPPED"
    NO_DATA = "NO_DATA"


class TriggerWatch:
    """One trigger over windows.

    Args:
        trigger: what is watched.
        looks: windows after which the watch starts anew, with its alpha anew.
    """

    def __init__(self, trigger: Trigger, looks: int) -> None:
        self.trigger = trigger
        self._looks = looks
        self._windows = 0
        self.tripped: NDArray[np.bool_] = np.zeros((), dtype=np.bool_)
        """Whether it has ever tripped, one per stream."""
        self._start()

    def update(self, values: Floats) -> Floats:
        """See one window of values, shape (..., n), n = 0 where there were none; the log evidence after it.

        Raises:
            InvalidInputError: a value that is not a number or out of the signal's range; nothing is changed.
        """
        watched = _watched(self.trigger, values)
        if self._windows and self._windows % self._looks == 0:
            self._start()
        self._since_start.update(watched)
        since_any = self._since_any.update(watched)
        self._windows += 1
        if self._windows >= self.trigger.minimum_windows and self._since_start.count >= self.trigger.minimum_n:
            self.tripped = self.tripped | self._since_start.rejects | self._since_any.alarm
        return np.asarray(np.maximum(self._since_start.log_wealth, since_any))

    def _start(self) -> None:
        of = self.trigger
        self._since_start = Betting(of.mean, of.low, of.high, of.alternative, of.alpha / 2)
        self._since_any = ChangeWatch(
            of.mean, of.low, of.high, of.alternative, shift=of.shift, looks=self._looks, alpha=of.alpha / 2
        )


@dataclass(frozen=True, slots=True)
class TriggerReading:
    """A trigger after a window: its state, the mean of the window's values (None without any) and their number.

    `log_evidence` trips at log(2 / alpha).
    """

    state: TriggerState
    mean: float | None
    n: int
    log_evidence: float


class Monitor:
    """All triggers of a configuration over one stream of windows."""

    def __init__(self, config: MonitoringConfig) -> None:
        self._watches = {name: TriggerWatch(trigger, config.looks) for name, trigger in config.triggers.items()}

    def observe(self, window: Mapping[Signal, Floats]) -> dict[str, TriggerReading]:
        """See one window; a signal that is absent had no values.

        Args:
            window: values of each signal, shape (n,).

        Raises:
            InvalidInputError: a value that is not a number or out of its range; no trigger has seen the window.
        """
        values = {name: window.get(watch.trigger.signal, _NOTHING) for name, watch in self._watches.items()}
        for name, watch in self._watches.items():
            _require_usable(watch.trigger, values[name])
        return {name: _read(watch, values[name]) for name, watch in self._watches.items()}

    @property
    def tripped(self) -> tuple[str, ...]:
        """Names of the triggers that have tripped: any one of them is a reason to roll back."""
        return tuple(name for name, watch in self._watches.items() if watch.tripped.any())


_NOTHING: Floats = np.zeros(0)


def _read(watch: TriggerWatch, values: Floats) -> TriggerReading:
    evidence = float(watch.update(values))
    n = len(values)
    state = TriggerState.QUIET if n >= watch.trigger.minimum_n else TriggerState.NO_DATA
    return TriggerReading(
        state=TriggerState.TRIPPED if watch.tripped.any() else state,
        mean=float(_watched(watch.trigger, values).mean()) if n else None,
        n=n,
        log_evidence=evidence,
    )


def _watched(trigger: Trigger, values: Floats) -> Floats:
    """The values in whose mean the trigger is interested."""
    _require_usable(trigger, values)
    return values if trigger.limit is None else (values > trigger.limit).astype(np.float64)


def _require_usable(trigger: Trigger, values: Floats) -> None:
    low, high = (0.0, np.inf) if trigger.limit is not None else (trigger.low, trigger.high)
    if not ((values >= low) & (values <= high) & np.isfinite(values)).all():
        raise InvalidInputError(
            f"a value of {trigger.signal} is not a number in [{low:g}, {high:g}]; measure the window again",
            field=trigger.signal,
        )
