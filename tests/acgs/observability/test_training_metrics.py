from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from acgs.observability.training_metrics import SessionFigures, TrainingMetrics

HASH = "cdd01ef066bc6cf2"


def samples(metrics: TrainingMetrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def figures(**values: object) -> SessionFigures:
    given: dict[str, object] = {
        "session_id": "s", "model_id": "m", "compliance": 0.9, "epsilon": 2.0, "target_epsilon": 8.0,
    }  # fmt: skip
    return SessionFigures(**(given | values))  # type: ignore[arg-type]


def test_every_series_carries_the_constitution() -> None:
    metrics = TrainingMetrics(HASH, "1.0")
    metrics.requested("tiny", "accepted")
    metrics.ended("completed", "tiny", "m", seconds=40, compliance=0.97)
    metrics.healthy("scheduler", works=False)
    metrics.now([figures()], queued=3)
    found = samples(metrics)
    assert all(labels["constitutional_hash"] == HASH for series in found.values() for labels, _ in series)
    value = {name: series[0][1] for name, series in found.items() if len(series) == 1}
    assert value["constitutional_training_requests_total"] == 1
    assert value["constitutional_training_sessions_total"] == 1
    assert value["constitutional_training_duration_seconds_sum"] == 40
    assert value["constitutional_compliance_score_sum"] == 0.97
    assert value["constitutional_trainer_health_score"] == 0
    assert value["constitutional_training_sessions_active"] == 1
    assert value["constitutional_training_sessions_queued"] == 3
    assert value["constitutional_compliance_score_current"] == 0.9
    assert value["constitutional_privacy_epsilon_current"] == 2.0
    assert value["constitutional_privacy_budget_utilization"] == 0.25
    assert found["constitutional_trainer_info"][0][0]["version"] == "1.0"


def test_a_session_that_ended_leaves_no_series_behind() -> None:
    metrics = TrainingMetrics(HASH, "1.0")
    metrics.now([figures()], queued=0)
    metrics.now([], queued=0)
    found = samples(metrics)
    assert "constitutional_privacy_epsilon_current" not in found
    assert found["constitutional_training_sessions_active"][0][1] == 0


def test_what_was_not_measured_is_not_shown() -> None:
    metrics = TrainingMetrics(HASH, "1.0")
    metrics.now([figures(compliance=None, epsilon=None)], queued=0)
    metrics.ended("failed", "tiny", "m", seconds=1, compliance=None)
    found = samples(metrics)
    assert "constitutional_compliance_score_current" not in found
    assert "constitutional_privacy_epsilon_current" not in found
    assert "constitutional_compliance_score_count" not in found


def test_what_a_model_was_found_to_do_is_counted_by_principle_and_severity() -> None:
    metrics = TrainingMetrics(HASH, "1.0")
    metrics.measured("m", {"human_dignity": (3, "critical")}, 12.5)
    metrics.measured("m", {"human_dignity": (1, "critical")}, None)
    found = samples(metrics)
    labels = {"violation_type": "human_dignity", "severity": "critical", "model_id": "m", "constitutional_hash": HASH}
    assert found["constitutional_violations_total"] == [(labels, 4.0)]
    assert [value for _, value in found["constitutional_model_perplexity"]] == [12.5]
