from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.release.monitoring_config import (
    MonitoringConfig,
    monitoring_config,
    read_monitoring_config,
    write_monitoring_config,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _config(**changed: Any) -> MonitoringConfig:
    return monitoring_config(
        **{"version": "1.1.0", "at": AT, "baseline_p95_ms": 100.0, "delta_deviation": 0.14, **changed}
    )


def test_the_document_survives_a_file(tmp_path: Path) -> None:
    path, config = tmp_path / "monitoring.json", _config()
    write_monitoring_config(path, config)
    assert read_monitoring_config(path) == config


def test_alpha_is_shared_out_over_the_triggers() -> None:
    alphas = {name: trigger.alpha for name, trigger in _config(alpha=0.03).triggers.items()}
    assert sum(alphas.values()) == pytest.approx(0.03)
    assert max(alphas, key=lambda name: alphas[name]) == "quality_regression"


def test_the_latency_limit_follows_the_baseline() -> None:
    config = _config(baseline_p95_ms=50.0)
    assert config.triggers["latency_breach"].limit == pytest.approx(60.0)
    assert config.rollback_triggers.latency_breach_threshold == pytest.approx(60.0)
    assert config.alert_thresholds.p95_latency_max == pytest.approx(55.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"baseline_p95_ms": 0.0},
        {"baseline_p95_ms": float("nan")},
        {"delta_deviation": 0.0},
        {"delta_deviation": float("inf")},
        {"alpha": 1.0},
        {"importance": {"quality_regression": 1.0}},
    ],
)
def test_figures_that_make_no_watch_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        _config(**changed)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("triggers", "latency_breach", "alpha"), 0.05, "alphas of all"),
        (("triggers",), {}, "there must be a trigger"),
        (("triggers", "latency_breach", "limit"), None, "against a limit"),
        (("triggers", "quality_regression", "limit"), 3.0, "against a limit"),
        (("triggers", "quality_regression", "mean"), -1.0, "inside the range"),
        (("triggers", "quality_regression", "owner"), "Jane Doe", "owner"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: object, message: str
) -> None:
    path = tmp_path / "monitoring.json"
    document = json.loads(_config().model_dump_json())
    part = document
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_monitoring_config(path)
    assert "Jane" not in caught.value.message


def test_a_document_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_monitoring_config(tmp_path / "monitoring.json")
