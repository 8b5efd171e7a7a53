from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.release.monitoring import Monitor, TriggerState, TriggerWatch
from acgs.release.monitoring_config import MonitoringConfig, Signal, monitoring_config
from acgs.statistics.evidence import Floats

DEVIATION = 0.137
P95 = 100.0


@pytest.fixture
def config() -> MonitoringConfig:
    return monitoring_config(
        version="1.1.0", at=datetime(2026, 11, 20, tzinfo=UTC), baseline_p95_ms=P95, delta_deviation=DEVIATION
    )


def _deltas(rng: np.random.Generator, *shape: int, loss: float = 0.0) -> Floats:
    """Mostly exact zeros, standard deviation 0.137."""
    return np.clip(np.where(rng.random(shape) < 0.7, 0.0, rng.normal(0, 0.25, shape)) - loss, -1, 1)


def _window(rng: np.random.Generator, *, loss: float = 0.0, slower: float = 1.0) -> dict[Signal, Floats]:
    stated = rng.uniform(0.2, 0.8, 100)
    return {
        Signal.DELTA: _deltas(rng, 100, loss=loss),
        Signal.HARD_NL_DELTA: _deltas(rng, 40, loss=loss),
        Signal.LATENCY: P95 / 1.4 * rng.lognormal(0, 0.2, 600) * slower,
        Signal.OVERLAP: np.where(rng.random(100) < 0.02, 9 / 11, 1.0),
        Signal.RESIDUAL: (rng.random(100) < stated) - stated,
    }


def test_a_good_hour_trips_nothing(config: MonitoringConfig) -> None:
    rng, monitor = np.random.default_rng(1), Monitor(config)
    for _ in range(60):
        readings = monitor.observe(_window(rng))
    assert monitor.tripped == ()
    assert {reading.state for reading in readings.values()} == {TriggerState.QUIET}
    assert readings["latency_breach"].n == 600


def test_a_loss_of_quality_trips_its_triggers_and_no_other(config: MonitoringConfig) -> None:
    rng, monitor = np.random.default_rng(2), Monitor(config)
    for _ in range(60):
        monitor.observe(_window(rng, loss=0.3 * DEVIATION))
    assert set(monitor.tripped) == {"quality_regression", "hard_nl_regression"}


def test_slower_answers_trip_the_latency_trigger_and_no_other(config: MonitoringConfig) -> None:
    rng, monitor = np.random.default_rng(3), Monitor(config)
    for _ in range(10):
        monitor.observe(_window(rng, slower=1.4))
    assert monitor.tripped == ("latency_breach",)


@pytest.mark.parametrize(("bias", "name"), [(0.1, "underconfidence"), (-0.1, "overconfidence")])
def test_probabilities_that_are_off_trip_on_their_side(config: MonitoringConfig, bias: float, name: str) -> None:
    rng, monitor = np.random.default_rng(4), Monitor(config)
    for _ in range(30):
        stated = rng.uniform(0.2, 0.8, 100)
        monitor.observe({Signal.RESIDUAL: (rng.random(100) < stated + bias) - stated})
    assert monitor.tripped == (name,)


def test_what_has_tripped_stays_so_when_the_evidence_is_gone(config: MonitoringConfig) -> None:
    monitor = Monitor(config)
    for value in [-0.2] * 3 + [0.9] * 20:
        reading = monitor.observe({Signal.DELTA: np.full(100, value)})["quality_regression"]
    assert reading.log_evidence < 0
    assert reading.state == TriggerState.TRIPPED


def test_quality_is_given_as_many_windows_as_the_document_says(config: MonitoringConfig) -> None:
    windows = config.rollback_triggers.quality_regression_windows
    monitor, tripped = Monitor(config), []
    for _ in range(windows):
        monitor.observe({Signal.DELTA: np.full(200, -0.9)})
        tripped.append(monitor.tripped)
    assert tripped == [()] * (windows - 1) + [("quality_regression",)]


def test_a_window_without_traffic_is_no_data_and_no_evidence(config: MonitoringConfig) -> None:
    monitor = Monitor(config)
    for _ in range(100):
        readings = monitor.observe({})
    assert {reading.state for reading in readings.values()} == {TriggerState.NO_DATA}
    assert {reading.mean for reading in readings.values()} == {None}
    assert monitor.tripped == ()


def test_few_values_say_nothing_until_there_are_enough(config: MonitoringConfig) -> None:
    trigger = config.triggers["quality_regression"]
    watch, values = TriggerWatch(trigger, 1440), np.full(5, -0.9)
    states = []
    for _ in range(trigger.minimum_n // 5):
        watch.update(values)
        states.append(bool(watch.tripped))
    assert states == [False] * (len(states) - 1) + [True]


@pytest.mark.parametrize(
    "window",
    [
        {Signal.DELTA: np.array([0.1, np.nan])},
        {Signal.DELTA: np.array([1.5])},
        {Signal.LATENCY: np.array([np.inf])},
        {Signal.LATENCY: np.array([-1.0])},
        {Signal.RESIDUAL: np.array([-2.0])},
    ],
)
def test_a_value_that_cannot_be_is_refused_before_any_trigger_sees_the_window(
    config: MonitoringConfig, window: dict[Signal, Floats]
) -> None:
    rng = np.random.default_rng(6)
    spoiled, clean = Monitor(config), Monitor(config)
    with pytest.raises(InvalidInputError, match="measure the window again"):
        spoiled.observe({**_window(rng), **window})
    good = _window(rng)
    assert spoiled.observe(good) == clean.observe(good)


def test_any_trigger_trips_falsely_with_at_most_alpha_in_a_period() -> None:
    """All triggers at their worst allowed means, 400 streams of 200 windows."""
    config = monitoring_config(
        version="1", at=datetime(2026, 11, 20, tzinfo=UTC), baseline_p95_ms=P95, delta_deviation=DEVIATION
    )
    rng, streams, looks = np.random.default_rng(7), 400, 200
    tripped = np.zeros(streams, dtype=bool)
    for trigger in config.triggers.values():
        watch = TriggerWatch(trigger, looks)
        for _ in range(looks):
            if trigger.limit is not None:
                values = np.where(rng.random((streams, 20)) < 0.05, 2 * P95, P95)
            elif trigger.signal == Signal.OVERLAP:
                values = rng.beta(0.75, 0.25, (streams, 20))
            elif trigger.signal == Signal.RESIDUAL:
                values = (rng.random((streams, 20)) < 0.5 + trigger.mean) - 0.5
            else:
                values = _deltas(rng, streams, 20)
            watch.update(values)
        tripped |= watch.tripped
    assert tripped.mean() <= config.alpha + 4 * np.sqrt(config.alpha * (1 - config.alpha) / streams)


def test_a_watch_begins_a_new_period_when_its_looks_are_spent(config: MonitoringConfig) -> None:
    watch, rng = TriggerWatch(config.triggers["quality_regression"], 5), np.random.default_rng(8)
    evidence = [float(watch.update(_deltas(rng, 50, loss=-0.2))) for _ in range(5)]
    assert float(watch.update(np.zeros(0))) > evidence[-1]
    for _ in range(10):
        watch.update(np.full(50, -0.9))
    assert bool(watch.tripped)
